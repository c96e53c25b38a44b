// SPDX-License-Identifier: GPL-2.0
//
// canary: the agent shows itself that what happens here still reaches it.
//
// Hook: the classic tracepoint syscalls:sys_exit_sched_get_priority_min (since
// 2.6.33), in the agent. It is a call without effect that a program makes once if
// ever, so tracing it taxes nobody. The agent asks for a policy that there is none
// of, and leaves its token in the register behind, which the kernel never looks at.
// Nobody else can let a canary go: it is taken from our own processes alone.
//
// One record goes through each ring: a ring that is full, is not read or is read by
// somebody else is told by the canary that does not come out.
//
// Blind to: other hooks that are gone (their links are looked at one by one), and a
// ring from which somebody takes all but the canaries.

#define CANARY_POLICY 0x76656474 // "vedt"; policies are small numbers (include/uapi/linux/sched.h)
#define RING_LIFECYCLE 0
#define RING_ACTIVITY 1

struct canary_record {
	struct record_header header;
	u64 token;
	u32 ring;
	u32 reserved;
};

// What a canary says beside the ring it takes.
struct canary {
	u64 token;
	s64 result;
};

static __always_inline void fill_canary(struct canary_record *record, struct task_struct *task, struct canary *canary, u32 ring)
{
	fill_header(&record->header, KIND_canary, sizeof(*record), task);
	record->header.result = canary->result;
	record->token = canary->token;
	record->ring = ring;
	record->reserved = 0;
}

static __always_inline void canary_body(struct task_struct *task, struct canary *canary)
{
	struct canary_record *record = reserve_lifecycle(SLOT_canary, sizeof(*record));
	if (record) {
		fill_canary(record, task, canary, RING_LIFECYCLE);
		submit_lifecycle(SLOT_canary, &record->header);
	}
	record = reserve_activity(SLOT_canary, sizeof(*record));
	if (record) {
		fill_canary(record, task, canary, RING_ACTIVITY);
		submit_activity(SLOT_canary, &record->header);
	}
}

int canary_exit(SYS_EXIT_CONTEXT *ctx)
{
	struct task_struct *task = current_task();
	struct pt_regs *regs = CALL_REGS(ctx);
	struct canary canary = { .token = ARGUMENT_1(regs), .result = CALL_RESULT(ctx) };
	if (ARGUMENT_0(regs) == CANARY_POLICY && is_own_task(task))
		canary_body(task, &canary);
	return 0;
}
