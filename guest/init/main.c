/* SPDX-License-Identifier: MIT */
#include <unistd.h>

#include "init.h"

static void start_machine(void)
{
	mount_basics();
	config_read(RINGLET_DIR "/config");
	load_modules();
	report_open();
	mount_root();
	set_up_network();
	enter_root();
	set_up_names();
	if (config_get("systemd"))
		start_systemd();
}

/* A service of systemd finds the machine as it should be. */
static void join_machine(void)
{
	config_read(RUN_DIR "/config");
	report_open();
}

int main(void)
{
	bool stopping;

	if (getpid() == 1)
		start_machine();
	else
		join_machine();
	start_agent();
	report_status(run_program(&stopping));
	/* Who has us stop is systemd, which has others to stop yet, and turns the machine off then. */
	if (stopping && getpid() != 1)
		return 0;
	power_off();
}
