/* SPDX-License-Identifier: MIT */
/* A look at the CPUs: registers, code, page tables. They stand for it, and do not notice. */
#include <errno.h>

#include "base/error.h"
#include "control/session.h"
#include "cpu/isa.h"
#include "vm/machine.h"

#define TEXT_BYTES 4096

static void describe_cpu(struct cpu *cpu, const uint64_t *address, struct json *result)
{
	char text[TEXT_BYTES];

	json_object_begin(result, NULL);
	json_uint(result, "cpu", cpu->index);
	cpu->isa->describe(cpu, text, sizeof(text));
	session_lines(result, "registers", text);
	cpu->isa->describe_code(cpu, text, sizeof(text));
	session_lines(result, "code", text);
	if (address) {
		cpu->isa->describe_address(cpu, *address, text, sizeof(text));
		session_lines(result, "address", text);
	}
	json_object_end(result);
}

/* only: one CPU; UINT64_MAX: all. walks: an address is given. */
static int read_arguments(const struct session *session, const struct json_value *arguments,
			  uint64_t *only, uint64_t *address, bool *walks, struct error *err)
{
	const struct json_value *cpu = json_member(&session->request, arguments, "cpu");
	const struct json_value *at = json_member(&session->request, arguments, "address");
	const struct vm *vm = session->control->vm;

	*only = UINT64_MAX;
	if (cpu && (!json_uint_of(cpu, only) || *only >= vm->cpu_count))
		return error_set(err, EINVAL, "\"cpu\" is a number below %u", vm->cpu_count);
	*walks = at;
	if (at && !json_uint_of(at, address))
		return error_set(err, EINVAL, "\"address\" is a number, or a string \"0x...\" of one");
	return 0;
}

static int describe_cpus(struct session *session, const struct json_value *arguments,
			 struct json *result, struct error *err)
{
	const struct vm *vm = session->control->vm;
	uint64_t only, address;
	bool walks;
	int ret = read_arguments(session, arguments, &only, &address, &walks, err);

	json_array_begin(result, "cpus");
	for (unsigned i = 0; i < vm->cpu_count && !ret; i++)
		if (only == UINT64_MAX || only == i)
			describe_cpu(vm->threads[i].cpu, walks ? &address : NULL, result);
	json_array_end(result);
	return ret;
}

static void visit(struct vm *vm, void *session)
{
	(void)vm;
	session_answer(session, describe_cpus);
}

int debug_run(struct session *session, const struct json_value *arguments, struct json *result,
	      struct error *err)
{
	uint64_t only, address;
	bool walks;
	int ret = read_arguments(session, arguments, &only, &address, &walks, err);

	(void)result;
	if (ret)
		return ret;
	session->visit = (struct vm_visit){ .run = visit, .opaque = session };
	vm_visit(session->control->vm, &session->visit);
	return SESSION_LATER;
}
