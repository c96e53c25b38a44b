// SPDX-License-Identifier: GPL-2.0
//
// process_exit: the last thread of a process ended.
//
// Hook: raw tracepoint sched_process_exit (since 2.6.31), in the dying thread.
// signal->live counts the threads that are left and reaches 0 just before.
// Two threads that die at the same moment may both see 0: the reader of this
// record tolerates a second one.
// Blind to: nothing known; namespaces may be gone already and are then 0.

struct process_exit_record {
	struct record_header header;
	u32 exit_code;
	u32 reserved;
};

static __always_inline void process_exit_body(struct task_struct *task)
{
	struct process_exit_record *record;
	struct signal_struct *signal = READ(task, signal);
	u32 tgid = READ(task, tgid);
	if (READ(signal, live.counter) != 0)
		return;
	own_tgids.delete(&tgid); // whoever gets this pid next is watched
	record = reserve_lifecycle(SLOT_process_exit, sizeof(*record));
	if (!record)
		return;
	fill_header(&record->header, KIND_process_exit, sizeof(*record), task);
	record->exit_code = READ(task, exit_code);
	record->reserved = 0;
	submit_lifecycle(SLOT_process_exit, &record->header);
}

int process_exit_raw(struct bpf_raw_tracepoint_args *ctx)
{
	process_exit_body(current_task());
	return 0;
}
