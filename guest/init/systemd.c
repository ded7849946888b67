/* SPDX-License-Identifier: MIT */
/*
 * With systemd as process 1: it gets a service that is this program again, which runs what was asked
 * for and ends the machine. All of it is in /run: the tree keeps no trace. What systemd would do
 * because of the host's own disks and terminals is left out, and so is that it empties /tmp, where
 * somebody may be at work: /run masks the tree's files of the same name (systemd.generator(7),
 * tmpfiles.d(5)).
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <unistd.h>

#include "init.h"

#define COPY RUN_DIR "/init"
#define UNITS "/run/systemd/system"

static const char *const programs[] = { "/lib/systemd/systemd", "/usr/lib/systemd/systemd" };
static const char *const masked[] = {
	"/run/systemd/system-generators/systemd-fstab-generator",
	"/run/systemd/system-generators/systemd-gpt-auto-generator",
	"/run/systemd/system-generators/systemd-getty-generator",
	"/run/tmpfiles.d/tmp.conf",
	"/run/tmpfiles.d/x11.conf",
};

static const char unit[] =
	"[Unit]\n"
	"Description=What ringlet run was given to run\n"
	"After=basic.target systemd-user-sessions.service\n"
	"[Service]\n"
	"Type=idle\n"
	"KillMode=mixed\n"
	"ExecStart=" COPY "\n"
	"StandardError=journal+console\n"
	"IgnoreSIGPIPE=no\n";

static void copy_self(void)
{
	int from = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
	int to = open(COPY, O_WRONLY | O_CREAT | O_CLOEXEC, 0700);
	ssize_t done;

	do
		done = sendfile(to, from, NULL, INT_MAX);
	while (done > 0);
	if (from < 0 || to < 0 || done)
		die("cannot write %s: %s", COPY, strerror(errno));
	close(from);
	close(to);
}

static void make_unit(void)
{
	int fd;

	mkdir("/run/systemd", 0755);
	mkdir(UNITS, 0755);
	mkdir(UNITS "/multi-user.target.wants", 0755);
	fd = open(UNITS "/ringlet.service", O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
	if (fd < 0 || write(fd, unit, sizeof(unit) - 1) != (ssize_t)sizeof(unit) - 1 ||
	    symlink("../ringlet.service", UNITS "/multi-user.target.wants/ringlet.service"))
		die("cannot write a unit into %s: %s", UNITS, strerror(errno));
	close(fd);
}

static void mask(void)
{
	mkdir("/run/systemd/system-generators", 0755);
	mkdir("/run/tmpfiles.d", 0755);
	for (unsigned i = 0; i < sizeof(masked) / sizeof(masked[0]); i++)
		symlink("/dev/null", masked[i]);
}

void start_systemd(void)
{
	mkdir(RUN_DIR, 0700);
	copy_self();
	config_save(RUN_DIR "/config");
	make_unit();
	mask();
	for (unsigned i = 0; i < sizeof(programs) / sizeof(programs[0]); i++)
		execl(programs[i], programs[i], (char *)NULL);
	die("the root has no systemd: %s: %s", programs[0], strerror(errno));
}
