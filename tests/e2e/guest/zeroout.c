/* SPDX-License-Identifier: MIT */
/* zeroout DEVICE OFFSET LENGTH: has a range of a block device zeroed, by the device if it can. */
#include <fcntl.h>
#include <linux/fs.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>

int main(int argc, char **argv)
{
	uint64_t range[2];
	int fd;

	if (argc != 4)
		return 2;
	range[0] = strtoull(argv[2], NULL, 0);
	range[1] = strtoull(argv[3], NULL, 0);
	fd = open(argv[1], O_RDWR | O_EXCL);
	if (fd < 0 || ioctl(fd, BLKZEROOUT, range)) {
		perror(argv[1]);
		return 1;
	}
	return 0;
}
