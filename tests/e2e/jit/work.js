// SPDX-License-Identifier: MIT
// Work for V8's compilers: hot loops, types that change under optimised code, regular expressions
// (which are compiled, too), WebAssembly, garbage. The output depends on every result.
'use strict';
const lines = [];
const say = (name, value) => lines.push(`${name} ${value}`);

function sieve(n) {
  const composite = new Uint8Array(n + 1);
  let count = 0, sum = 0;
  for (let i = 2; i <= n; i++) {
    if (composite[i]) continue;
    sum = (sum + i * ++count) % 1000003;
    for (let k = i * i; k <= n; k += i) composite[k] = 1;
  }
  return `${count}:${sum}`;
}

function floats(n) {
  let x = 1, y = 0, vx = 0, vy = 0.9, e = 0;
  for (let i = 0; i < n; i++) {
    const r = Math.hypot(x, y) ** 3;
    vx -= x / r * 0.001; vy -= y / r * 0.001;
    x += vx * 0.001; y += vy * 0.001;
    e += Math.sin(x) * Math.cos(y);
  }
  return `${x} ${y} ${e}`;
}

function add(a, b) { return a + b; } // optimised for integers, thrown away for the others

function deoptimised(n) {
  let out = 0;
  for (let i = 0; i < n; i++) out = add(out, i % 91) | 0;
  let text = '';
  for (let i = 0; i < 100; i++) text = add(text, i);
  let real = 0.5;
  for (let i = 0; i < n; i++) real = add(real, 0.25);
  return `${out} ${text.length} ${real}`;
}

function objects(n) {
  const map = new Map();
  for (let i = 0; i < n; i++) {
    const key = `k${i * 7919 % 1013}`;
    const old = map.get(key) || { count: 0, list: [] };
    map.set(key, { count: old.count + 1, list: [...old.list.slice(-3), i] });
  }
  return JSON.stringify([...map].sort((a, b) => (a[0] < b[0] ? -1 : 1))).length;
}

function patterns(n) {
  const pattern = /(\d+)-([a-f]+)(?=;)|x{2,4}/g;
  let count = 0, sum = 0;
  for (let i = 0; i < n; i++) {
    const text = `${i}-${(i * 40503).toString(16)};xxx${'x'.repeat(i % 7)}-abc;`;
    for (const m of text.matchAll(pattern)) { count++; sum = (sum * 31 + m.index + m[0].length) % 1000003; }
  }
  return `${count} ${sum}`;
}

function wasm(n) {
  // (func (param i32) (result i32)): sum = sum * 31 + i down to 0
  const bytes = [0, 97, 115, 109, 1, 0, 0, 0, 1, 6, 1, 96, 1, 127, 1, 127, 3, 2, 1, 0, 7, 5, 1, 1, 102, 0, 0,
    10, 30, 1, 28, 1, 1, 127, 3, 64, 32, 1, 65, 31, 108, 32, 0, 106, 33, 1, 32, 0, 65, 1, 107, 34, 0, 13, 0,
    11, 32, 1, 11];
  const made = new WebAssembly.Instance(new WebAssembly.Module(new Uint8Array(bytes)));
  return made.exports.f(n);
}

function bigints(n) {
  let a = 1n;
  for (let i = 1; i < n; i++) a = a * BigInt(i) % (1n << 521n) - (a >> 7n);
  return a.toString(36);
}

for (let round = 0; round < 3; round++) {
  say('sieve', sieve(200000 + round));
  say('floats', floats(200000));
  say('deoptimised', deoptimised(200000));
  say('objects', objects(5000));
  say('patterns', patterns(3000));
  say('wasm', wasm(300000));
  say('bigints', bigints(2000));
}
console.log(lines.join('\n'));
