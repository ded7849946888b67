-- SPDX-License-Identifier: MIT
-- Work for LuaJIT's compiler, with output that depends on every result. ROUNDS: how much.
local rounds = tonumber(arg[1]) or 1
local bit = require("bit")
local ffi = require("ffi")
assert(jit.status(), "the compiler is off")

local function sieve(n)
	local composite, count, sum = {}, 0, 0
	for i = 2, n do
		if not composite[i] then
			count, sum = count + 1, (sum + i * count) % 1000003
			for k = i * i, n, i do composite[k] = true end
		end
	end
	return count .. ":" .. sum
end

local function mandelbrot(n)
	local sum = 0
	for y = 0, n - 1 do
		for x = 0, n - 1 do
			local cr, ci, zr, zi, i = 2 * x / n - 1.5, 2 * y / n - 1, 0, 0, 0
			while zr * zr + zi * zi < 4 and i < 60 do
				zr, zi, i = zr * zr - zi * zi + cr, 2 * zr * zi + ci, i + 1
			end
			sum = sum + i * (x + 1)
		end
	end
	return sum
end

local function planets(steps)
	local px, py, vx, vy, e = 1.0, 0.0, 0.0, 0.9, 0
	for _ = 1, steps do
		local r = math.sqrt(px * px + py * py)
		vx, vy = vx - px / r ^ 3 * 0.001, vy - py / r ^ 3 * 0.001
		px, py = px + vx * 0.001, py + vy * 0.001
		e = e + math.sin(px) * math.cos(py)
	end
	return string.format("%.17g %.17g %.17g", px, py, e)
end

local function integers(n)
	local a, b = ffi.new("uint64_t", 0x9e3779b97f4a7c15ull), ffi.new("int32_t[64]")
	local h = 0
	for i = 1, n do
		a = a * 6364136223846793005ull + 1442695040888963407ull
		h = bit.bxor(bit.rol(h, 5), bit.tobit(i * 2654435761 % 4294967296))
		b[i % 64] = b[(i + 7) % 64] + h
	end
	return tostring(a) .. " " .. h .. " " .. b[3]
end

local function strings(n)
	local parts, counts = {}, {}
	for i = 1, n do
		parts[#parts + 1] = string.format("%x,%d", i * 7919, i % 13)
		if i % 100 == 0 then parts = { table.concat(parts, ";"):reverse():sub(1, 400) } end
	end
	for c in table.concat(parts):gmatch(".") do counts[c] = (counts[c] or 0) + 1 end
	local keys = {}
	for c, k in pairs(counts) do keys[#keys + 1] = c .. k end
	table.sort(keys)
	return table.concat(keys, " ")
end

local function coroutines(n)
	local sum = 0
	local producer = coroutine.wrap(function()
		for i = 1, n do coroutine.yield(i * i % 97) end
	end)
	for _ = 1, n do sum = sum * 31 % 1000003 + producer() end
	return sum
end

-- Code that is thrown away and made anew in the same memory, a little different each time.
local function regenerated(n)
	local sum = 0
	for i = 1, n do
		local f = loadstring(("local s = %d for k = 1, 300 do s = (s * %d + k) %% 65521 " ..
				      "if s > %d then s = s - 7 end end return s"):format(i, i * 2 + 1, i * 600))
		sum = (sum * 3 + f() + f()) % 1000003
		jit.flush()
	end
	return sum
end

for round = 1, rounds do
	print(round, sieve(20000 + round))
	print(round, mandelbrot(40 + round))
	print(round, planets(20000))
	print(round, integers(50000 + round))
	print(round, strings(2000))
	print(round, coroutines(5000))
	print(round, regenerated(60))
end
