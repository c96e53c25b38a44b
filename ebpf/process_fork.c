// SPDX-License-Identifier: GPL-2.0
//
// process_fork: a process was made.
//
// Hook: raw tracepoint sched_process_fork (since 2.6.31), in the caller of
// clone, when the child is complete but has not run.
// Blind to: threads (left out on purpose).

struct process_fork_record {
	struct record_header header;
	u64 child_started_ns;
	u64 parent_started_ns;
	u32 child_tgid;
	u32 child_ns_tgid;
	u32 parent_tgid;
	u32 reserved;
};

static __always_inline void process_fork_body(struct task_struct *task, struct task_struct *child)
{
	struct process_fork_record *record;
	u32 child_tgid = READ(child, tgid);
	if (child_tgid != READ(child, pid))
		return;
	record = reserve_lifecycle(SLOT_process_fork, sizeof(*record));
	if (!record)
		return;
	struct task_struct *parent = READ(child, real_parent);
	struct task_struct *leader = READ(parent, group_leader);
	struct record_header in_child;
	fill_namespaces(&in_child, child);
	fill_header(&record->header, KIND_process_fork, sizeof(*record), task);
	record->child_started_ns = READ(child, start_boottime);
	record->parent_started_ns = READ(leader, start_boottime);
	record->child_tgid = child_tgid;
	record->child_ns_tgid = in_child.ns_tgid;
	record->parent_tgid = READ(parent, tgid);
	record->reserved = 0;
	submit_lifecycle(SLOT_process_fork, &record->header);
}

int process_fork_raw(struct bpf_raw_tracepoint_args *ctx)
{
	process_fork_body(current_task(), (struct task_struct *)ctx->args[1]);
	return 0;
}
