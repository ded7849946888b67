/* SPDX-License-Identifier: MIT */
#include "agent/wire.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

int agent_send(int fd, enum agent_type type, const void *data, size_t len)
{
	struct agent_header header = { .type = type, .len = (uint32_t)len };
	struct iovec pieces[2] = { { &header, sizeof(header) }, { (void *)data, len } };
	struct iovec *piece = pieces, *end = pieces + 2;

	while (piece < end) {
		ssize_t put = writev(fd, piece, (int)(end - piece));

		if (put < 0 && errno == EINTR)
			continue;
		if (put < 0)
			return -errno;
		for (; piece < end && (size_t)put >= piece->iov_len; piece++)
			put -= (ssize_t)piece->iov_len;
		if (piece < end) {
			piece->iov_base = (uint8_t *)piece->iov_base + put;
			piece->iov_len -= (size_t)put;
		}
	}
	return 0;
}

int agent_send_u32(int fd, enum agent_type type, uint32_t value)
{
	return agent_send(fd, type, &value, sizeof(value));
}

int agent_send_text(int fd, enum agent_type type, const char *text)
{
	return agent_send(fd, type, text, strnlen(text, AGENT_DATA_MAX));
}

static int read_all(int fd, void *data, size_t len)
{
	size_t done = 0;

	while (done < len) {
		ssize_t got = read(fd, (uint8_t *)data + done, len - done);

		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			return got && errno != ECONNRESET ? -errno : -EPIPE;
		done += (size_t)got;
	}
	return 0;
}

int agent_receive(int fd, struct agent_header *header, uint8_t *data)
{
	int ret = read_all(fd, header, sizeof(*header));

	if (ret)
		return ret;
	if (header->len > AGENT_FRAME_MAX)
		return -EPROTO;
	data[header->len] = 0;
	return read_all(fd, data, header->len);
}

bool agent_u32(const struct agent_header *header, const void *data, uint32_t *value)
{
	if (header->len != sizeof(*value))
		return false;
	memcpy(value, data, sizeof(*value));
	return true;
}
