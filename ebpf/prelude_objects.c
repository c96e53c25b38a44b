// SPDX-License-Identifier: GPL-2.0
//
// The kernel's own objects, read the same way by every probe: the task and its
// namespaces, paths from dentries and mounts, files, sockets, descriptors.
// Joined behind prelude.c; nothing here is a hook.

// The calling task, as the verifier knows it, for LOAD(); not in programs on
// cgroups, where the question is younger than the floor. Before 5.11 nobody can ask.
#if KERNEL_VALUE(bpf_func_id, BPF_FUNC_get_current_task_btf) > 0
#define TASK_IS_KNOWN true
#define current_task() ((struct task_struct *)bpf_get_current_task_btf())
#else
#define TASK_IS_KNOWN false
#define current_task() ((struct task_struct *)bpf_get_current_task())
#endif

static __always_inline struct kernfs_node *cgroup_parent(struct kernfs_node *node)
{
#if KERNEL_HAS(kernfs_node, __parent)
	return READ(node, __parent);
#else
	return READ(node, parent);
#endif
}

// The cgroup that says most: the unified one, or on a host whose containers
// live in the v1 hierarchies (unified at its root) that of the pids controller.
static __always_inline struct kernfs_node *cgroup_node(struct task_struct *task)
{
	struct css_set *set = READ(task, cgroups);
	struct cgroup *cgroup = READ(set, dfl_cgrp);
	struct kernfs_node *node = READ(cgroup, kn);
#if KERNEL_VALUE(cgroup_subsys_id, pids_cgrp_id) >= 0
	if (!cgroup_parent(node)) {
		struct cgroup_subsys_state *state = READ(set, subsys[KERNEL_VALUE(cgroup_subsys_id, pids_cgrp_id)]);
		if (state) {
			cgroup = READ(state, cgroup);
			node = READ(cgroup, kn);
		}
	}
#endif
	return node;
}

// The namespaces of a process are its leader's; the number it has in its own stands
// behind its pid at a place that the verifier does not follow.
static __always_inline void fill_namespaces(struct record_header *header, struct task_struct *task)
{
	struct task_struct *leader = READ(task, group_leader);
	struct nsproxy *namespaces = READ(task, nsproxy);
	struct mnt_namespace *mnt_ns = READ(namespaces, mnt_ns);
	struct pid *pid = READ(leader, thread_pid);
	struct upid upid = {};
	u32 level = READ(pid, level);
	bpf_probe_read_kernel(&upid, sizeof(upid), &pid->numbers[level]);
	struct pid_namespace *pid_ns = upid.ns;
	header->ns_tgid = upid.nr;
	header->pid_ns = READ(pid_ns, ns.inum);
	header->mnt_ns = READ(mnt_ns, ns.inum);
}

static __always_inline void fill_credentials(struct record_header *header, struct task_struct *task)
{
	const struct cred *cred = READ(task, cred);
	header->uid = READ(cred, uid.val);
	header->gid = READ(cred, gid.val);
	header->euid = READ(cred, euid.val);
	header->egid = READ(cred, egid.val);
}

// Who: `task`, whatever the context the hook runs in.
static __always_inline void fill_header(struct record_header *header, u32 kind, u32 len, struct task_struct *task)
{
	struct task_struct *leader = READ(task, group_leader);
	struct kernfs_node *node = cgroup_node(task);
	header->time_ns = bpf_ktime_get_boot_ns();
	header->started_ns = READ(leader, start_boottime);
	header->cgroup_id = READ(node, id);
	header->result = 0;
	header->kind = kind;
	header->len = len;
	header->flags = CALL_FLAGS;
	header->cpu = bpf_get_smp_processor_id();
	header->tgid = READ(task, tgid);
	header->tid = READ(task, pid);
	header->reserved = 0;
	fill_namespaces(header, task);
	fill_credentials(header, task);
}

// Append one NUL-terminated name at header.len; `size` is where the section ends.
static __always_inline int append_name(struct record_header *header, const u32 size, const void *name)
{
	u32 at = *(volatile u32 *)&header->len;
	if (at >= size - NAME_BYTES) {
		header->flags |= FLAG_TRUNCATED;
		return -1;
	}
	long length = bpf_probe_read_kernel_str((char *)header + at, NAME_BYTES, name);
	if (length <= 0) {
		header->flags |= FLAG_READ_ERROR;
		return -1;
	}
	header->len = at + length;
	return 0;
}

// An empty name, which no file has, says that the rest of the way is missing.
static __always_inline void append_cut(struct record_header *header, const u32 size)
{
	u32 at = *(volatile u32 *)&header->len;
	if (at >= size)
		return;
	((char *)header)[at] = 0;
	header->len = at + 1;
}

// A name that no file has: below it lies what the caller can name.
static __always_inline void append_root(struct record_header *header, const u32 size)
{
	u32 at = *(volatile u32 *)&header->len;
	if (at >= size - 1)
		return;
	((char *)header)[at] = '/';
	((char *)header)[at + 1] = 0;
	header->len = at + 2;
}

// Number of the mount namespace that a path is in: another than its own for who was
// left a descriptor from outside. 0 for what is mounted nowhere.
static __always_inline u32 mount_namespace_of(struct path path)
{
	struct mount *mount = CONTAINER_OF(path.mnt, struct mount, mnt);
	struct mnt_namespace *mnt_ns = READ(mount, mnt_ns);
	u32 inum = 0;
	bpf_probe_read_kernel(&inum, sizeof(inum), &mnt_ns->ns.inum);
	return inum;
}

// Append the names from `dentry` up to the root of the mount tree, leaf first,
// each with its NUL, across mount points, and "/" where the caller's own root
// directory lies on the way. What does not fit is the root's end.
static __always_inline void append_path(struct record_header *header, const u32 size, struct path path)
{
	struct task_struct *caller = (struct task_struct *)bpf_get_current_task();
	struct fs_struct *fs = READ(caller, fs);
	struct path root = READ(fs, root);
	struct dentry *dentry = path.dentry;
	struct mount *mount = CONTAINER_OF(path.mnt, struct mount, mnt);
	for (int step = 0; step < PATH_STEPS; step++) {
		struct dentry *parent = READ(dentry, d_parent);
		if (dentry == root.dentry && mount == CONTAINER_OF(root.mnt, struct mount, mnt))
			append_root(header, size);
		if (dentry == READ(mount, mnt.mnt_root)) {
			struct mount *above = READ(mount, mnt_parent);
			if (above == mount)
				return;
			dentry = READ(mount, mnt_mountpoint);
			mount = above;
			continue;
		}
		if (append_name(header, size, READ(dentry, d_name.name)))
			break;
		if (parent == dentry)
			return;
		dentry = parent;
		if (step == PATH_STEPS - 1)
			header->flags |= FLAG_TRUNCATED;
	}
	append_cut(header, size);
}

// Append the names of a cgroup up to its hierarchy's root, leaf first.
static __always_inline void append_cgroup(struct record_header *header, const u32 size, struct task_struct *task)
{
	struct kernfs_node *node = cgroup_node(task);
	for (int step = 0; step < CGROUP_STEPS; step++) {
		struct kernfs_node *parent = cgroup_parent(node);
		if (!parent)
			return;
		if (append_name(header, size, READ(node, name)))
			break;
		node = parent;
		if (step == CGROUP_STEPS - 1)
			header->flags |= FLAG_TRUNCATED;
	}
	append_cut(header, size);
}

#define TMPFS_MAGIC 0x01021994 // include/uapi/linux/magic.h
#define HUGETLBFS_MAGIC 0x958458f6
#define OVERLAYFS_MAGIC 0x794c7630
#define MNT_NS_INTERNAL ((void *)-22) // fs/mount.h: a mount no namespace holds

#define UPPER_UNKNOWN 0
#define UPPER_NO 1
#define UPPER_YES 2

// Whether an overlay keeps `inode` in its writable layer. OVL_UPPER_OFFSET is
// the distance from the VFS inode to ovl_inode.__upperdentry, from BTF.
static __always_inline u32 overlay_upper(struct inode *inode, u64 magic)
{
#ifdef OVL_UPPER_OFFSET
	void *upper = 0;
	if (magic != OVERLAYFS_MAGIC)
		return UPPER_UNKNOWN;
	if (bpf_probe_read_kernel(&upper, sizeof(upper), (char *)inode + OVL_UPPER_OFFSET))
		return UPPER_UNKNOWN;
	return upper ? UPPER_YES : UPPER_NO;
#else
	return UPPER_UNKNOWN;
#endif
}

#define CTIME_QUERIED (1U << 31) // include/linux/fs.h, a mark of multigrain timestamps since 6.13

// ctime moved twice: commits 13bc24457850 (6.6) and 3aa63a569c64 (6.11).
static __always_inline u64 inode_changed_at_ns(struct inode *inode)
{
#if KERNEL_HAS(inode, i_ctime_sec)
	u32 nanoseconds = READ(inode, i_ctime_nsec) & ~CTIME_QUERIED;
	return READ(inode, i_ctime_sec) * 1000000000ULL + nanoseconds;
#elif KERNEL_HAS(inode, __i_ctime)
	return READ(inode, __i_ctime.tv_sec) * 1000000000ULL + READ(inode, __i_ctime.tv_nsec);
#else
	return READ(inode, i_ctime.tv_sec) * 1000000000ULL + READ(inode, i_ctime.tv_nsec);
#endif
}

static __always_inline void fill_file(struct file_info *info, struct file *file)
{
	struct inode *inode = READ(file, f_inode);
	struct super_block *super = READ(inode, i_sb);
	struct vfsmount *vfsmount = READ(file, f_path.mnt);
	struct mount *mount = CONTAINER_OF(vfsmount, struct mount, mnt);
	u64 magic = READ(super, s_magic);
	bool internal = READ(mount, mnt_ns) == MNT_NS_INTERNAL;
	info->inode = READ(inode, i_ino);
	info->size_bytes = READ(inode, i_size);
	info->changed_at_ns = inode_changed_at_ns(inode);
	info->device = READ(super, s_dev);
	info->mode_raw = READ(inode, i_mode);
	info->upper = overlay_upper(inode, magic);
	info->memfd = internal && (magic == TMPFS_MAGIC || magic == HUGETLBFS_MAGIC);
	info->unlinked = READ(inode, i_nlink) == 0;
	info->reserved = 0;
}

#define AF_INET 2
#define AF_INET6 10

static __always_inline bool is_internet(struct sock *sk)
{
	u16 family = READ(sk, __sk_common.skc_family);
	return family == AF_INET || family == AF_INET6;
}

// The port is what getsockname says: skc_num is 0 once the other end has reset the
// connection (inet_put_port).
static __always_inline void fill_socket(struct socket_info *info, struct sock *sk)
{
	info->cookie = READ(sk, __sk_common.skc_cookie.counter);
	info->family = READ(sk, __sk_common.skc_family);
	info->protocol = READ(sk, sk_protocol);
	info->local_port = bpf_ntohs(READ((struct inet_sock *)sk, inet_sport));
	info->remote_port = bpf_ntohs(READ(sk, __sk_common.skc_dport));
	__builtin_memset(info->local_address, 0, 16);
	__builtin_memset(info->remote_address, 0, 16);
	if (info->family == AF_INET) {
		bpf_probe_read_kernel(info->local_address, 4, &sk->__sk_common.skc_rcv_saddr);
		bpf_probe_read_kernel(info->remote_address, 4, &sk->__sk_common.skc_daddr);
		return;
	}
	bpf_probe_read_kernel(info->local_address, 16, &sk->__sk_common.skc_v6_rcv_saddr);
	bpf_probe_read_kernel(info->remote_address, 16, &sk->__sk_common.skc_v6_daddr);
}

#define IPPROTO_TCP 6
#define IPPROTO_UDP 17

#define S_IFMT 00170000 // include/uapi/linux/stat.h
#define S_IFSOCK 0140000
#define S_IFREG 0100000
#define S_IFDIR 0040000

static __always_inline u32 file_type(struct file *file)
{
	struct inode *inode = READ(file, f_inode);
	return READ(inode, i_mode) & S_IFMT;
}

// The socket behind a file, or 0. file->private_data is the struct socket
// (net/socket.c, sock_alloc_file).
static __always_inline struct sock *file_socket(struct file *file)
{
	if (file_type(file) != S_IFSOCK)
		return 0;
	struct socket *socket = READ(file, private_data);
	return READ(socket, sk);
}

// The internet socket behind a file, or 0; `file` may be 0.
static __always_inline struct sock *internet_socket(struct file *file)
{
	struct sock *sk = file ? file_socket(file) : 0;
	return sk && is_internet(sk) ? sk : 0;
}

#define TCP_LISTEN 10 // include/net/tcp_states.h; of other families, too

static __always_inline bool is_listening(struct sock *sk)
{
	return READ(sk, __sk_common.skc_state) == TCP_LISTEN;
}

#define EBADF 9 // include/uapi/asm-generic/errno-base.h

static __always_inline struct file *fd_file_from(struct task_struct *task, long fd, u32 *flags, const bool known)
{
	struct files_struct *files = LOAD(known, task, files);
	struct fdtable *table = LOAD(known, files, fdt);
	struct file **slots = LOAD(known, table, fd);
	struct file *file = 0;
	if (LOAD(known, files, count.counter) > 1)
		*flags |= FLAG_FD_SHARED;
	if (fd >= 0 && fd < LOAD(known, table, max_fds))
		file = READ_POINTER(slots + fd);
	if (!file)
		*flags |= FLAG_FD_RACED;
	return file;
}

// The file a descriptor of the calling task (current_task()) names now. A shared table
// (files->count > 1) can change under us: said in `flags`, as is a slot that is empty already.
static __always_inline struct file *fd_file(struct task_struct *task, long fd, u32 *flags)
{
	return fd_file_from(task, fd, flags, TASK_IS_KNOWN);
}

// The same, of any task.
static __always_inline struct file *fd_file_by_reads(struct task_struct *task, long fd, u32 *flags)
{
	return fd_file_from(task, fd, flags, false);
}

#define ANON_INODE_FS_MAGIC 0x09041934 // include/uapi/linux/magic.h

// The first eight bytes of a name, as one number that can be compared.
#define NAME_8(text)                                                           \
	({                                                                     \
		u64 name_;                                                     \
		__builtin_memcpy(&name_, text, 8);                             \
		name_;                                                         \
	})

// The beginning of the name by which the kernel calls a file that has no place in any
// tree, 0 for another: nobody else can name anything there (fs/anon_inodes.c). It tells
// what private_data is.
static __always_inline u64 anonymous_name(struct file *file)
{
	struct inode *inode = READ(file, f_inode);
	struct super_block *super = READ(inode, i_sb);
	struct dentry *dentry = READ(file, f_path.dentry);
	u64 name = 0;
	if (READ(super, s_magic) == ANON_INODE_FS_MAGIC)
		bpf_probe_read_kernel(&name, sizeof(name), READ(dentry, d_name.name));
	return name;
}
