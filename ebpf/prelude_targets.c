// SPDX-License-Identifier: GPL-2.0
//
// Another process as the target of a call: found by the number the caller knows
// it by, and told once a second. Joined behind prelude_objects.c; nothing here is
// a hook.

#define PID_LEVELS 4 // 4 * 6 bits hold the 4,194,304 of PID_MAX_LIMIT (include/linux/threads.h)
#define XA_CHUNK (sizeof(((struct xa_node *)0)->slots) / sizeof(void *)) // 64; 16 with CONFIG_BASE_SMALL
#define XA_INTERNAL 2 // low bits of an entry that is a node (xa_is_internal, include/linux/xarray.h)
#define EEXIST 17 // include/uapi/asm-generic/errno-base.h
#define ASK_NS 1000000000ULL // shorter than anybody needs to tell two accesses apart

// As find_pid_ns() looks a number up: in the tree of numbers of the namespace,
// here without its lock, so that a tree that changes meanwhile may give nothing.
static __always_inline struct pid *pid_by_number(struct pid_namespace *pid_ns, u32 number)
{
	u64 entry = (u64)READ(pid_ns, idr.idr_rt.xa_head);
	for (int level = 0; level < PID_LEVELS; level++) {
		struct xa_node *node = (struct xa_node *)(entry - XA_INTERNAL);
		if ((entry & 3) != XA_INTERNAL)
			return 0;
		u32 shift = READ(node, shift) & 31;
		u64 slot = number >> shift;
		if (level == 0 && slot >= XA_CHUNK)
			return 0;
		entry = 0;
		bpf_probe_read_kernel(&entry, sizeof(entry), &node->slots[slot & (XA_CHUNK - 1)]);
		if (shift == 0)
			break;
	}
	return (struct pid *)(entry & 3 ? 0 : entry);
}

// The thread that the caller calls `number`, 0 when it has none of that number.
static __always_inline struct task_struct *task_by_number(struct task_struct *caller, u32 number)
{
	struct pid *own = READ(caller, thread_pid);
	struct upid upid = {};
	u32 level = READ(own, level);
	bpf_probe_read_kernel(&upid, sizeof(upid), &own->numbers[level]);
	struct pid *pid = pid_by_number(upid.ns, number);
	if (!pid)
		return 0;
	struct hlist_node *first = READ(pid, tasks[0].first); // PIDTYPE_PID
	return first ? CONTAINER_OF(first, struct task_struct, pid_links[0]) : 0;
}

// `target` may be 0: then nothing is known of it but the number it was called by.
static __always_inline void fill_target(struct target_info *info, struct task_struct *target, u32 number)
{
	__builtin_memset(info, 0, sizeof(*info));
	info->number = number;
	if (!target)
		return;
	struct task_struct *leader = READ(target, group_leader);
	info->started_ns = READ(leader, start_boottime);
	info->tgid = READ(target, tgid);
}

// Append the path of the program that `target` runs; a dead process and a kernel
// thread have none.
static __always_inline void append_target_path(struct record_header *header, const u32 size, struct task_struct *target)
{
	struct mm_struct *mm = READ(target, mm);
	struct file *exe = mm ? READ(mm, exe_file) : 0;
	if (exe)
		append_path(header, size, READ(exe, f_path));
}

// Who did what to whom. A number that named nobody is 0 here, and the caller says
// what bounds `operation`: a flood of calls must stay one key.
struct access {
	u64 exec_id; // task->self_exec_id: another program in the same process is another caller
	u64 target_started_ns;
	u32 tgid;
	u32 target_tgid;
	u32 operation;
	s32 error;
};

// When an access was last told; 2,048 a second. The kernel evicts the least
// recently used, which is then told again.
BPF_TABLE("lru_hash", struct access, u64, told_accesses, 2048);

// A debugger does the same to the same process thousands of times a second.
static __always_inline bool is_access_told(struct task_struct *caller, struct access *access)
{
	u64 now = bpf_ktime_get_boot_ns();
	access->exec_id = READ(caller, self_exec_id);
	access->tgid = READ(caller, tgid);
	u64 *told = told_accesses.lookup(access);
	if (!told) // of two threads that come at the same moment one is first
		return told_accesses.insert(access, &now) == -EEXIST;
	if (now - *told < ASK_NS)
		return true;
	told_accesses.update(access, &now);
	return false;
}

// A directory as the target: of the same dentry, which another may be given within
// the second, the name tells them apart.
static __always_inline void note_directory(struct access *access, struct path path)
{
	struct dentry *dentry = path.dentry;
	struct mount *mount = CONTAINER_OF(path.mnt, struct mount, mnt);
	access->target_started_ns = (u64)dentry ^ (u64)READ(dentry, d_name.hash) << 32;
	access->target_tgid = READ(mount, mnt_id);
}
