// SPDX-License-Identifier: GPL-2.0
//
// user_id: a running program changed its user or group ids, or its capabilities.
//
// Hooks: the classic tracepoints syscalls:sys_exit_{setuid,setgid,setreuid,
// setregid,setresuid,setresgid,capset} (since 2.6.33), in the caller, whose new
// credentials are in place. The old ones are gone by then: what a thread began
// with is noted at the raw tracepoints sched_process_fork and sched_process_exec
// (some 0.3 us each), because a hook at the beginning of the calls would tax every
// other system call of the host. Of a thread that is older than the sensor the old
// ids are unknown until its second change.
//
// What changed nothing and what was refused is not told. The same change by the
// same program within a second is counted as repeated: libc changes the threads of
// a process one by one.
//
// Blind to: setfsuid and setfsgid; setgroups; what unshare and
// setns of a user namespace give; set-user-id programs and file capabilities
// (process_exec has the ids after the start).

#define USER_ID_OPERATION 0x50000 // beside the others' in struct access

struct user_ids {
	u32 uid;
	u32 euid;
	u32 suid;
	u32 gid;
	u32 egid;
	u32 sgid;
	u64 effective_raw;
	u64 permitted_raw;
};

struct user_id_record {
	struct record_header header;
	struct user_ids old;
	struct user_ids new;
	u32 old_known;
	u32 reserved;
};

// Key: thread; value: what it last was known to be. 16,384 threads that began, or
// changed, last; the kernel evicts the least recently used, whose old ids are then
// unknown. A number that is used again is written again.
BPF_TABLE("lru_hash", u32, struct user_ids, known_ids, 16384);

static __always_inline void fill_ids(struct user_ids *ids, struct task_struct *task)
{
	const struct cred *cred = READ(task, cred);
	ids->uid = READ(cred, uid.val);
	ids->euid = READ(cred, euid.val);
	ids->suid = READ(cred, suid.val);
	ids->gid = READ(cred, gid.val);
	ids->egid = READ(cred, egid.val);
	ids->sgid = READ(cred, sgid.val);
	// 64 bits, as one number since f122a08b197d (6.3), in two halves before.
	bpf_probe_read_kernel(&ids->effective_raw, sizeof(u64), &cred->cap_effective);
	bpf_probe_read_kernel(&ids->permitted_raw, sizeof(u64), &cred->cap_permitted);
}

static __always_inline bool is_same(struct user_ids *one, struct user_ids *other)
{
	return one->uid == other->uid && one->euid == other->euid && one->suid == other->suid &&
	       one->gid == other->gid && one->egid == other->egid && one->sgid == other->sgid &&
	       one->effective_raw == other->effective_raw && one->permitted_raw == other->permitted_raw;
}

static __always_inline void note_ids(struct task_struct *task)
{
	struct user_ids ids;
	u32 tid = READ(task, pid);
	fill_ids(&ids, task);
	known_ids.update(&tid, &ids);
}

// FNV-1a by words, to name a change in one number.
static __always_inline u64 mixed(u64 sum, struct user_ids *ids)
{
	const u64 prime = 0x100000001b3ULL;
	sum = (sum ^ ids->uid) * prime;
	sum = (sum ^ ids->euid) * prime;
	sum = (sum ^ ids->suid) * prime;
	sum = (sum ^ ids->gid) * prime;
	sum = (sum ^ ids->egid) * prime;
	sum = (sum ^ ids->sgid) * prime;
	sum = (sum ^ ids->effective_raw) * prime;
	return (sum ^ ids->permitted_raw) * prime;
}

static __always_inline bool is_change_told(struct task_struct *task, struct user_ids *old, struct user_ids *new)
{
	struct access access = { .operation = USER_ID_OPERATION, .target_started_ns = mixed(mixed(0, old), new) };
	return is_access_told(task, &access);
}

static __always_inline void user_id_body(struct task_struct *task)
{
	u32 tid = READ(task, pid);
	struct user_ids new, old = {};
	struct user_ids *known = known_ids.lookup(&tid);
	bool old_known = known != 0;
	if (known)
		old = *known;
	fill_ids(&new, task);
	if (old_known && is_same(&old, &new))
		return;
	known_ids.update(&tid, &new);
	if (is_change_told(task, &old, &new)) {
		count_repeated(SLOT_user_id);
		return;
	}
	struct user_id_record *record = reserve_activity(SLOT_user_id, sizeof(*record));
	if (!record)
		return;
	fill_header(&record->header, KIND_user_id, sizeof(*record), task);
	record->old = old;
	record->new = new;
	record->old_known = old_known;
	record->reserved = 0;
	submit_activity(SLOT_user_id, &record->header);
}

int user_id_exit(SYS_EXIT_CONTEXT *ctx)
{
	if (CALL_RESULT(ctx) == 0)
		user_id_body(current_task());
	return 0;
}

int user_id_fork(struct bpf_raw_tracepoint_args *ctx)
{
	note_ids((struct task_struct *)ctx->args[1]);
	return 0;
}

int user_id_exec(struct bpf_raw_tracepoint_args *ctx)
{
	note_ids((struct task_struct *)ctx->args[0]);
	return 0;
}
