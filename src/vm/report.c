/* SPDX-License-Identifier: MIT */
#include "vm/report.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static void take_line(struct report *report)
{
	struct vm_outcome *outcome = &report->outcome;
	unsigned number;
	char rest;

	if (sscanf(report->line, "exit %3u%c", &number, &rest) == 1 && number < 256) {
		*outcome = (struct vm_outcome){ .kind = VM_OUTCOME_EXIT, .number = number };
	} else if (sscanf(report->line, "signal %3u%c", &number, &rest) == 1 && number < 128) {
		*outcome = (struct vm_outcome){ .kind = VM_OUTCOME_SIGNAL, .number = number };
	} else if (!strncmp(report->line, "fail ", 5)) {
		outcome->kind = VM_OUTCOME_FAILED;
		snprintf(outcome->text, sizeof(outcome->text), "%s", report->line + 5);
	}
}

static size_t report_write(void *opaque, const uint8_t *data, size_t len)
{
	struct report *report = opaque;

	for (size_t i = 0; i < len; i++) {
		if (data[i] == '\n') {
			report->line[report->length] = 0;
			take_line(report);
			report->length = 0;
		} else if (report->length < sizeof(report->line) - 1) {
			report->line[report->length++] =
				data[i] >= ' ' && data[i] < 0x7f ? (char)data[i] : '?';
		}
	}
	return len;
}

/* Whole or not at all. */
static bool tell(struct report *report, const char *line)
{
	size_t length = strlen(line);

	if (chardev_can_receive(&report->chardev) < length)
		return false;
	chardev_receive(&report->chardev, (const uint8_t *)line, length);
	return true;
}

/* May be called in the middle of the device's own work, which giving it input does not disturb. */
static void report_input_room(void *opaque)
{
	struct report *report = opaque;
	char line[40];

	snprintf(line, sizeof(line), "slept %" PRIu64 "\n", report->slept_ns);
	if (report->slept_ns && tell(report, line))
		report->slept_ns = 0;
	if (report->to_stop && tell(report, "stop\n"))
		report->to_stop = false;
}

void report_sleep(struct report *report, uint64_t ns)
{
	report->slept_ns += ns;
	report_input_room(report);
}

void report_ask_stop(struct report *report)
{
	report->to_stop = true;
	report_input_room(report);
}

static const struct chardev_ops report_ops = {
	.write = report_write,
	.input_room = report_input_room,
};

void report_init(struct report *report)
{
	*report = (struct report){ .chardev = { .ops = &report_ops, .opaque = report } };
}
