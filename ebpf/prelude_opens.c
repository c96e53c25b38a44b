// SPDX-License-Identifier: GPL-2.0
//
// Which opened files are told for their name alone, and what was told of a file
// already. Joined behind prelude_targets.c; nothing here is a hook.
//
// A name is that of the dentry and of its parent: what the file is called in its own
// file system, whatever was written, linked or mounted to get there, and the same in
// every container. Where the parent is the root of a mount its mount point's name is
// tried, too. Blind to: a file that was given another name (told as file_rename or
// file_link), and the mount point of a file that is mounted by itself.

#define LISTED_NAME_BYTES 48 // with its NUL; agent/sensor/ebpf/sensitive.py refuses longer ones
#define FMODE_WRITE 0x2 // include/linux/fs.h
#define FMODE_CREATED 0x100000 // since 4.19

// Of either name nothing: any.
struct listed_name {
	char parent[LISTED_NAME_BYTES];
	char leaf[LISTED_NAME_BYTES];
};

struct listed_file {
	u32 magic; // of the file system it counts on, 0 for any
	u32 only_written; // not told when it is only read
};

// Written by the agent; twice what the configuration may add.
BPF_HASH(sensitive_files, struct listed_name, struct listed_file, 512);

// Key: length of a leaf, or LISTED_NAME_BYTES and that of a parent any leaf of which
// is listed; value: a bit for each first character (& 63) that such a name has. One in
// twenty names passes; an open to read costs 0.1 us more for it all.
BPF_ARRAY(sensitive_lengths, u64, 2 * LISTED_NAME_BYTES);

static __always_inline bool may_be_listed(struct dentry *dentry, const u32 from)
{
	u32 length = READ(dentry, d_name.len);
	u32 at = from + length;
	u8 first = 0;
	u64 *firsts = sensitive_lengths.lookup(&at);
	if (length >= LISTED_NAME_BYTES || !firsts || !*firsts)
		return false;
	bpf_probe_read_kernel(&first, sizeof(first), READ(dentry, d_name.name));
	return *firsts >> (first & 63) & 1;
}

static __always_inline bool is_written(struct file *file)
{
	return file_type(file) == S_IFREG && READ(file, f_mode) & (FMODE_WRITE | FMODE_CREATED);
}

// 0 when it is not; else the magic of the file system it counts on, or 1 for any.
static __always_inline u32 is_listed(struct listed_name *name, struct file *file)
{
	struct listed_file *listed = sensitive_files.lookup(name);
	if (!listed)
		return 0;
	struct inode *inode = READ(file, f_inode);
	struct super_block *super = READ(inode, i_sb);
	if (listed->magic && listed->magic != READ(super, s_magic))
		return 0;
	bool counts = listed->only_written ? is_written(file) : file_type(file) == S_IFREG;
	return counts ? listed->magic | !listed->magic : 0;
}

static __always_inline u32 is_listed_below(struct dentry *parent, struct dentry *dentry, struct file *file)
{
	struct listed_name name = {};
	bpf_probe_read_kernel_str(name.leaf, sizeof(name.leaf), READ(dentry, d_name.name));
	ROLLED for (int form = 0; form < 3; form++) { // the leaf, both, the parent
		u32 listed = is_listed(&name, file);
		if (listed)
			return listed;
		if (form == 0)
			bpf_probe_read_kernel_str(name.parent, sizeof(name.parent), READ(parent, d_name.name));
		else
			__builtin_memset(name.leaf, 0, sizeof(name.leaf));
	}
	return 0;
}

// Most opens are turned away by the length and the first character of a name. Answers
// as is_listed does.
static __always_inline u32 is_sensitive(struct file *file, bool writes)
{
	struct dentry *dentry = READ(file, f_path.dentry);
	bool listed = may_be_listed(dentry, 0);
	if (!listed && !writes)
		return 0;
	struct dentry *parent = READ(dentry, d_parent);
	if (!listed && !may_be_listed(parent, LISTED_NAME_BYTES))
		return 0;
	struct vfsmount *vfsmount = READ(file, f_path.mnt);
	struct mount *mount = CONTAINER_OF(vfsmount, struct mount, mnt);
	ROLLED for (int above = 0; above < 2; above++) {
		u32 sensitive = is_listed_below(parent, dentry, file);
		if (sensitive || parent != READ(mount, mnt.mnt_root))
			return sensitive;
		parent = READ(mount, mnt_mountpoint);
	}
	return 0;
}

#define PROC_SUPER_MAGIC 0x9fa0 // include/uapi/linux/magic.h

// Of a file below /proc/PID the process, by the kernel's own word and not by the
// number that its name has there; 0 for any other file, and for one that is gone.
static __always_inline struct task_struct *process_of(struct file *file)
{
	struct inode *inode = READ(file, f_inode);
	struct super_block *super = READ(inode, i_sb);
	if (READ(super, s_magic) != PROC_SUPER_MAGIC)
		return 0;
	struct proc_inode *of_proc = CONTAINER_OF(inode, struct proc_inode, vfs_inode);
	struct pid *pid = READ(of_proc, pid);
	if (!pid)
		return 0;
	struct hlist_node *first = READ(pid, tasks[0].first); // PIDTYPE_PID
	return first ? CONTAINER_OF(first, struct task_struct, pid_links[0]) : 0;
}

#define REPEAT_NS 1000000000ULL // shorter than anybody needs to tell two writes apart

struct written_file {
	u64 inode;
	u32 device;
	u32 reserved;
};

struct writer {
	u64 told_ns;
	u64 exec_id; // task->self_exec_id: another program in the same process is another writer
	u32 tgid;
	u32 reserved;
};

// Who was last told to write a file; 8,192 files written within a second. The
// kernel evicts the least recently used, whose next write is then told again.
BPF_TABLE("lru_hash", struct written_file, struct writer, last_writers, 8192);

static __always_inline struct written_file identity_of(struct file *file)
{
	struct inode *inode = READ(file, f_inode);
	struct super_block *super = READ(inode, i_sb);
	struct written_file identity = { .inode = READ(inode, i_ino), .device = READ(super, s_dev) };
	return identity;
}

static __always_inline struct writer writer_now(struct task_struct *task)
{
	struct writer now = {
		.told_ns = bpf_ktime_get_boot_ns(),
		.exec_id = READ(task, self_exec_id),
		.tgid = READ(task, tgid),
	};
	return now;
}

static __always_inline bool is_last_writer(struct written_file *key, struct writer *now)
{
	struct writer *last = last_writers.lookup(key);
	return last && last->tgid == now->tgid && last->exec_id == now->exec_id && now->told_ns - last->told_ns < REPEAT_NS;
}

static __always_inline bool is_write_repeated(struct task_struct *task, struct file *file)
{
	struct written_file key = identity_of(file);
	struct writer now = writer_now(task);
	if (is_last_writer(&key, &now))
		return !(READ(file, f_mode) & FMODE_CREATED);
	last_writers.update(&key, &now);
	return false;
}

// Whether nothing new is known by an open for writing, asked before anything else is:
// who writes one file over and over pays for this alone.
static __always_inline bool is_write_known(struct task_struct *task, struct file *file)
{
	struct written_file key = identity_of(file);
	struct writer now = writer_now(task);
	return is_written(file) && !(READ(file, f_mode) & FMODE_CREATED) && is_last_writer(&key, &now);
}

#define ACCESS_READ 0x72656164 // "read": no number of ptrace's, and no direction of process_vm's

static __always_inline bool is_read_repeated(struct task_struct *task, struct file *file)
{
	struct written_file read = identity_of(file);
	struct access access = {
		.target_started_ns = read.inode,
		.target_tgid = read.device,
		.operation = ACCESS_READ,
	};
	return is_access_told(task, &access);
}

#define SECOND_NS 1000000000ULL
#define PLAIN_WRITES 1000 // a second and cgroup: a twentieth of what is read without loss, several times a build's

struct write_budget {
	u64 second_ns; // when the current one began
	u64 spent;
};

// Key: cgroup id. Cgroups that write at one time: the kernel evicts the least recently
// used, which then begins anew.
BPF_TABLE("lru_hash", u64, struct write_budget, write_budgets, 1024);

// Key: cgroup id. Those over their budget: the agent takes them out when they are quiet.
BPF_TABLE("lru_hash", u64, struct throttled_record, floods, 256);

// A file that is neither new nor a program nor sensitive: what opens of it are told
// beyond the budget is of no use to a finding but as evidence of who wrote.
static __always_inline bool is_plain_write(struct file *file)
{
	struct inode *inode = READ(file, f_inode);
	return !(READ(file, f_mode) & FMODE_CREATED) && !(READ(inode, i_mode) & 0111);
}

static __always_inline void note_flood(struct task_struct *task, u64 cgroup)
{
	struct throttled_record *flood = floods.lookup(&cgroup);
	if (!flood) {
		struct throttled_record begun = {};
		fill_header(&begun.header, 0, sizeof(begun), task);
		floods.insert(&cgroup, &begun); // of two at the same moment one is first
		flood = floods.lookup(&cgroup);
	}
	if (flood)
		__sync_fetch_and_add(&flood->withheld, 1);
}

// Two processors may spend the last of it at the same moment: a few more are told.
static __always_inline bool is_over_budget(struct task_struct *task)
{
	struct kernfs_node *node = cgroup_node(task);
	u64 cgroup = READ(node, id);
	u64 now = bpf_ktime_get_boot_ns();
	struct write_budget begun = { .second_ns = now, .spent = 1 };
	struct write_budget *budget = write_budgets.lookup(&cgroup);
	if (!budget || now - budget->second_ns >= SECOND_NS) {
		write_budgets.update(&cgroup, &begun);
		return false;
	}
	if (budget->spent < PLAIN_WRITES) {
		__sync_fetch_and_add(&budget->spent, 1);
		return false;
	}
	note_flood(task, cgroup);
	return true;
}
