/* SPDX-License-Identifier: MIT */
#include "init.h"

int main(void)
{
	mount_basics();
	config_read();
	load_modules();
	report_open();
	mount_root();
	set_up_network();
	enter_root();
	report_status(run_program());
	power_off();
}
