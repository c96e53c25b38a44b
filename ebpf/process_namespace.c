// SPDX-License-Identifier: GPL-2.0
//
// process_namespace: a running program went into other namespaces, or tried to.
//
// Hooks: the classic tracepoints syscalls:sys_exit_setns (since 3.0) and
// sys_exit_unshare (since 2.6.33), in the caller, whose new namespaces are in place.
// What failed is told, too, with its result. The record goes through the lifecycle
// ring: a flood of file opens must not evict it.
//
// What setns was given is read from the kernel: the kind and number of the namespace
// behind the descriptor, or the process behind a pidfd. Where threads share the
// descriptors the record says fd_shared, or fd_raced when what is there could not
// have been what the kernel took.
//
// unshare without a namespace (CLONE_FILES, CLONE_FS, CLONE_SYSVSEM) is not told. The
// same failure by the same program within a second is counted as repeated, and so is
// going into the same namespace again. New ones of the same kinds by the same thread
// are, too: some cost two microseconds to make, and a flood of them must not evict
// the start of a program.
//
// Blind to: namespaces that clone and clone3 make with a child
// (what the child does says in which it is); what a namespace is mapped to.

#define NAMESPACE_OPERATION 0x80000000 // beside the others' in struct access, and no CLONE_NEW*; plus the call and the kinds
#define NAMESPACE_UNSHARE 1 // in the same number: no CLONE_NEW* has this bit
#define NSFS_MAGIC 0x6e736673 // include/uapi/linux/magic.h
#define PIDFS_MAGIC 0x50494446

// CLONE_NEW* of include/uapi/linux/sched.h: time, mnt, cgroup, uts, ipc, user, pid, net.
#define NAMESPACE_KINDS 0x7e020080

// 0: this kernel has none of that kind.
struct namespace_ids {
	u32 mnt;
	u32 pid_for_children;
	u32 time_for_children;
	u32 net;
	u32 ipc;
	u32 uts;
	u32 cgroup;
	u32 user;
};

struct process_namespace_record {
	struct record_header header;
	struct target_info target; // of a pidfd
	struct namespace_ids now;
	u32 unshare;
	u32 flags_raw;
	u32 kinds_raw;
	u32 inum; // of the namespace that the descriptor is; 0: it is none
};

struct namespace_call {
	s64 result;
	struct task_struct *target;
	u32 unshare;
	u32 flags;
	u32 kinds;
	u32 inum;
	s32 fd;
	u32 trust;
};

static __always_inline void fill_namespace_ids(struct namespace_ids *ids, struct task_struct *task)
{
	struct nsproxy *proxy = READ(task, nsproxy);
	struct mnt_namespace *mnt = READ(proxy, mnt_ns);
	struct pid_namespace *pid = READ(proxy, pid_ns_for_children);
	struct time_namespace *time = READ(proxy, time_ns_for_children);
	struct net *net = READ(proxy, net_ns);
	struct ipc_namespace *ipc = READ(proxy, ipc_ns);
	struct uts_namespace *uts = READ(proxy, uts_ns);
	struct cgroup_namespace *cgroup = READ(proxy, cgroup_ns);
	const struct cred *cred = READ(task, cred);
	struct user_namespace *user = READ(cred, user_ns);
	ids->mnt = READ(mnt, ns.inum);
	ids->pid_for_children = READ(pid, ns.inum);
	ids->time_for_children = READ(time, ns.inum);
	ids->net = READ(net, ns.inum);
	ids->ipc = READ(ipc, ns.inum);
	ids->uts = READ(uts, ns.inum);
	ids->cgroup = READ(cgroup, ns.inum);
	ids->user = READ(user, ns.inum);
}

static __always_inline u32 namespace_kind(struct ns_common *ns)
{
#if KERNEL_HAS(ns_common, ns_type)
	return READ(ns, ns_type); // since 6.18
#else
	const struct proc_ns_operations *operations = READ(ns, ops);
	return READ(operations, type);
#endif
}

// The pid behind a pidfd, 0 when the file is none: on pidfs since cb12fd8e0dab (6.9),
// an anonymous inode with a name of its own before.
static __always_inline struct pid *pidfd_pid(struct file *file, u64 magic)
{
	struct inode *inode = READ(file, f_inode);
	struct dentry *dentry = READ(file, f_path.dentry);
	char name[8] = {};
	if (magic == PIDFS_MAGIC)
		return (struct pid *)READ(inode, i_private);
	bpf_probe_read_kernel_str(name, sizeof(name), READ(dentry, d_name.name));
	return __builtin_memcmp(name, "[pidfd]", sizeof(name)) ? 0 : (struct pid *)READ(file, private_data);
}

static __always_inline void read_setns(struct namespace_call *call, struct task_struct *task)
{
	struct file *file = fd_file(task, call->fd, &call->trust);
	struct inode *inode = file ? READ(file, f_inode) : 0;
	struct super_block *super = READ(inode, i_sb);
	u64 magic = READ(super, s_magic);
	struct pid *pid = 0;
	if (call->result == -EBADF)
		call->trust ^= FLAG_FD_RACED; // empty is what the call found, too
	if (magic == NSFS_MAGIC) {
		struct ns_common *ns = (struct ns_common *)READ(inode, i_private);
		call->kinds = namespace_kind(ns);
		call->inum = READ(ns, inum);
		return;
	}
	if (file)
		pid = pidfd_pid(file, magic);
	struct hlist_node *first = READ(pid, tasks[0].first); // PIDTYPE_PID
	if (first)
		call->target = CONTAINER_OF(first, struct task_struct, pid_links[0]);
	if (!pid && call->result == 0)
		call->trust |= FLAG_FD_RACED;
}

static __always_inline bool is_namespace_told(struct task_struct *task, struct namespace_call *call)
{
	struct target_info info;
	fill_target(&info, call->target, 0);
	struct access access = {
		.operation = NAMESPACE_OPERATION | call->kinds | call->unshare,
		.error = call->result,
		.target_started_ns = call->inum ? call->inum : info.started_ns,
		.target_tgid = info.tgid,
	};
	if (call->unshare && call->result == 0)
		access.target_tgid = READ(task, pid);
	return is_access_told(task, &access);
}

static __always_inline void process_namespace_body(struct task_struct *task, struct namespace_call *call)
{
	if (is_namespace_told(task, call)) {
		count_repeated(SLOT_process_namespace);
		return;
	}
	struct process_namespace_record *record = reserve_lifecycle(SLOT_process_namespace, sizeof(*record));
	if (!record)
		return;
	fill_header(&record->header, KIND_process_namespace, sizeof(*record), task);
	record->header.result = call->result;
	record->header.flags |= call->trust;
	fill_target(&record->target, call->target, 0);
	fill_namespace_ids(&record->now, task);
	record->unshare = call->unshare;
	record->flags_raw = call->flags;
	record->kinds_raw = call->kinds;
	record->inum = call->inum;
	submit_lifecycle(SLOT_process_namespace, &record->header);
}

// One program for the two calls: each costs compile time at every start.
int process_namespace_exit(SYS_EXIT_CONTEXT *ctx)
{
	struct task_struct *task = current_task();
	struct pt_regs *regs = CALL_REGS(ctx);
	u64 first = ARGUMENT_0(regs);
	struct namespace_call call = { .result = CALL_RESULT(ctx), .flags = first };
	if (CALL_NUMBER(ctx) == SYS_UNSHARE)
		call.unshare = NAMESPACE_UNSHARE;
	else
		call.flags = ARGUMENT_1(regs);
	call.kinds = call.flags & NAMESPACE_KINDS;
	if ((call.unshare && !call.kinds) || is_own_task(task))
		return 0;
	if (!call.unshare) {
		call.fd = first;
		read_setns(&call, task);
	}
	process_namespace_body(task, &call);
	return 0;
}
