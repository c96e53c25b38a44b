// SPDX-License-Identifier: GPL-2.0
//
// perf_event: a process asked the kernel to count or sample what others do, or to
// put a probe somewhere, or tried to.
//
// Hook: the classic tracepoint syscalls:sys_exit_perf_event_open (since 2.6.31), in
// the caller. What failed is told, too, with its result.
//
// What is to be watched is what the caller wrote, and may have changed since the
// kernel took its copy (user_memory). Whom, is in registers and kernel objects, looked
// up when the call is over: a target that is gone by then keeps only the number it was
// called by.
//
// Who samples a host asks once for each processor: the same event and target, with
// the same flags, by the same program is told once a second, with the first processor,
// and otherwise counted as repeated; so is what fails for the same reason, whatever the
// event was. What differs can be a flood, and goes through the activity ring.
//
// Blind to: where a probe goes (config1, config2); what an event does once it is there:
// ioctl, a BPF program, reading; descriptors received from others.

#define PERF_FLAG_CGROUP 4 // include/uapi/linux/perf_event.h, PERF_FLAG_PID_CGROUP: the number is a descriptor
#define PERF_OPERATION 0xa0000 // beside the others' in struct access; plus flags and type

struct perf_event_record {
	struct record_header header;
	struct target_info target;
	u64 config;
	u64 flags_raw;
	u32 type_raw;
	u32 asked_known;
	s32 on_cpu;
	u32 reserved;
};

// The beginning of struct perf_event_attr, include/uapi/linux/perf_event.h.
struct perf_asked {
	u32 type;
	u32 size;
	u64 config;
};

struct perf_call {
	s64 result;
	u64 flags;
	struct target_info target;
	struct perf_asked asked;
	bool unread;
};

static __always_inline bool is_perf_told(struct task_struct *task, struct perf_call *call)
{
	struct access access = {
		.target_started_ns = call->target.started_ns,
		.target_tgid = call->target.tgid,
		.operation = PERF_OPERATION,
		.error = call->result,
	};
	if (call->result >= 0) {
		// Of one target the start is always the same: what it is combined with stays distinct.
		access.target_started_ns ^= call->asked.config;
		access.operation += ((call->flags & 0xff) << 8) + (call->asked.type & 0xff);
		access.error = 0;
	}
	return is_access_told(task, &access);
}

static __always_inline struct task_struct *perf_target(struct task_struct *task, s32 number, u64 flags)
{
	if (number < 0 || flags & PERF_FLAG_CGROUP)
		return 0;
	return number ? task_by_number(task, number) : task;
}

int perf_event_exit(SYS_EXIT_CONTEXT *ctx)
{
	struct task_struct *task = current_task();
	struct pt_regs *regs = CALL_REGS(ctx);
	struct perf_call call = { .result = CALL_RESULT(ctx), .flags = ARGUMENT_4(regs) };
	s32 number = ARGUMENT_1(regs);
	if (is_own_task(task))
		return 0;
	call.unread = bpf_probe_read_user(&call.asked, sizeof(call.asked), (void *)ARGUMENT_0(regs));
	fill_target(&call.target, perf_target(task, number, call.flags), number);
	if (is_perf_told(task, &call)) {
		count_repeated(SLOT_perf_event);
		return 0;
	}
	struct perf_event_record *record = reserve_activity(SLOT_perf_event, sizeof(*record));
	if (!record)
		return 0;
	fill_header(&record->header, KIND_perf_event, sizeof(*record), task);
	record->header.result = call.result;
	record->header.flags |= call.unread ? FLAG_READ_ERROR : FLAG_USER_MEMORY;
	record->target = call.target;
	record->config = call.asked.config;
	record->flags_raw = call.flags;
	record->type_raw = call.asked.type;
	record->asked_known = !call.unread;
	record->on_cpu = ARGUMENT_2(regs);
	record->reserved = 0;
	submit_activity(SLOT_perf_event, &record->header);
	return 0;
}
