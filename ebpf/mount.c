// SPDX-License-Identifier: GPL-2.0
//
// mount: a file system was mounted, unmounted or put elsewhere, or somebody tried.
//
// Hooks: the classic tracepoints syscalls:sys_exit_{mount,umount} (since 2.6.33),
// {fsopen,fsconfig,open_tree,move_mount} (since 5.2) and open_tree_attr (since 6.15),
// in the caller. What failed is told, too, with its result. The record goes through
// the lifecycle ring: a flood of file opens must not evict it; but that of fsconfig,
// which anybody can make a flood of in a user namespace, through the activity ring.
//
// Names are those the caller wrote, and may have changed since the kernel took its
// copy (user_memory); a path may be relative. What move_mount puts in place by
// its descriptor is named by the kernel: device and type of the mount itself; so is
// the type of what fsconfig sets up. A value whose key calls it a secret is not read.
//
// The same call by the same program that fails for the same reason within a second
// is counted as repeated; whatever succeeds is told.
//
// Blind to: fsmount and fspick, without whose move_mount nothing can be seen by a
// path; open_tree that clones nothing, which opens a directory as open does; values
// that are descriptors or binary; mount_setattr; pivot_root;
// mounts that a namespace inherits, and those that vanish with it.

#define MOUNT_SOURCE_BYTES 256
#define MOUNT_TARGET_BYTES 512
#define MOUNT_TYPE_BYTES 64
#define OPEN_TREE_CLONE 1 // include/uapi/linux/mount.h, as what follows
#define FSCONFIG_SET_STRING 1
#define FSCONFIG_SET_PATH 3
#define FSCONFIG_SET_PATH_EMPTY 4
#define MOVE_MOUNT_F_EMPTY_PATH 0x4 // include/uapi/linux/mount.h
#define MOVE_MOUNT_T_EMPTY_PATH 0x40
#define MOUNT_OPERATION 0x40000 // beside the others' in struct access; plus the call

#define CALL_MOUNT 0
#define CALL_UMOUNT 1
#define CALL_MOVE_MOUNT 2
#define CALL_FSOPEN 3
#define CALL_FSCONFIG 4
#define CALL_OPEN_TREE 5

#define KNOWN_SOURCE 1
#define KNOWN_TARGET 2
#define KNOWN_TYPE 4
#define KNOWN_KEY 8
#define KNOWN_VALUE 16
#define KNOWN_WHOLE 32 // what is put in place is all of its file system, and no directory of it

struct mount_record {
	struct record_header header;
	u64 flags_raw;
	u32 call;
	u32 known;
	char source[MOUNT_SOURCE_BYTES]; // of fsconfig, which has neither, the value and the key
	char target[MOUNT_TARGET_BYTES];
	char filesystem[MOUNT_TYPE_BYTES];
};

// Names are addresses in the caller's memory, 0 where the call has none; `moved` is
// the mount that a descriptor stands for, else 0, and `type` of what file system that
// is, or what fsconfig sets up.
struct mount_call {
	s64 result;
	u64 source;
	u64 target;
	u64 filesystem;
	u64 key;
	u64 value;
	u64 flags;
	struct mount *moved;
	struct file_system_type *type;
	u32 call;
	u32 trust;
	u32 whole; // KNOWN_WHOLE, or 0
	u32 reserved;
};

struct mount_name {
	char *to;
	u32 known;
};

static __always_inline void note_name(struct mount_record *record, struct mount_name *name, const u32 size, long length)
{
	if (length <= 0) {
		record->header.flags |= FLAG_READ_ERROR;
		return;
	}
	record->known |= name->known;
	if (length == size)
		record->header.flags |= FLAG_TRUNCATED;
}

static __always_inline void user_name(struct mount_record *record, struct mount_name name, const u32 size, u64 from)
{
	if (!from)
		return;
	note_name(record, &name, size, bpf_probe_read_user_str(name.to, size, (void *)from));
	record->header.flags |= FLAG_USER_MEMORY;
}

static __always_inline void kernel_name(struct mount_record *record, struct mount_name name, const u32 size, const char *from)
{
	if (from)
		note_name(record, &name, size, bpf_probe_read_kernel_str(name.to, size, from));
}

// password, pass, secret and what else begins so.
static __always_inline bool is_secret(const char *key)
{
	u32 start;
	__builtin_memcpy(&start, key, sizeof(start));
	return start == (u32)NAME_8("pass\0\0\0") || start == (u32)NAME_8("secr\0\0\0");
}

static __always_inline void fill_names(struct mount_record *record, struct mount_call *call)
{
	struct mount_name key = { record->target, KNOWN_KEY };
	struct mount_name value = { record->source, KNOWN_VALUE };
	struct mount_name source = { record->source, KNOWN_SOURCE };
	struct mount_name target = { record->target, KNOWN_TARGET };
	struct mount_name filesystem = { record->filesystem, KNOWN_TYPE };
	user_name(record, target, MOUNT_TARGET_BYTES, call->target);
	user_name(record, source, MOUNT_SOURCE_BYTES, call->source);
	user_name(record, filesystem, MOUNT_TYPE_BYTES, call->filesystem);
	user_name(record, key, MOUNT_TARGET_BYTES, call->key);
	if (!is_secret(record->target))
		user_name(record, value, MOUNT_SOURCE_BYTES, call->value);
	record->known |= call->whole;
	if (call->moved)
		kernel_name(record, source, MOUNT_SOURCE_BYTES, READ(call->moved, mnt_devname));
	if (call->type)
		kernel_name(record, filesystem, MOUNT_TYPE_BYTES, READ(call->type, name));
}

static __always_inline void mount_body(struct task_struct *task, struct mount_call *call)
{
	struct access access = { .operation = MOUNT_OPERATION + call->call, .error = call->result };
	if (call->result < 0 && is_access_told(task, &access)) {
		count_repeated(SLOT_mount);
		return;
	}
	struct mount_record *record = call->call == CALL_FSCONFIG ? reserve_activity(SLOT_mount, sizeof(*record))
								  : reserve_lifecycle(SLOT_mount, sizeof(*record));
	if (!record)
		return;
	__builtin_memset(record, 0, sizeof(*record));
	fill_header(&record->header, KIND_mount, sizeof(*record), task);
	record->header.result = call->result;
	record->header.flags |= call->trust;
	record->flags_raw = call->flags;
	record->call = call->call;
	fill_names(record, call);
	submit_lifecycle(SLOT_mount, &record->header);
}

static __always_inline void read_move_mount(struct mount_call *call, struct task_struct *task, struct pt_regs *regs)
{
	call->call = CALL_MOVE_MOUNT;
	call->source = ARGUMENT_1(regs);
	call->target = ARGUMENT_3(regs);
	call->flags = ARGUMENT_4(regs);
	if (call->flags & MOVE_MOUNT_T_EMPTY_PATH)
		call->target = 0;
	if (!(call->flags & MOVE_MOUNT_F_EMPTY_PATH))
		return;
	struct file *file = fd_file(task, (s32)ARGUMENT_0(regs), &call->trust);
	struct vfsmount *vfsmount = file ? READ(file, f_path.mnt) : 0;
	call->source = 0;
	if (!vfsmount)
		return;
	struct super_block *super = READ(vfsmount, mnt_sb);
	call->moved = CONTAINER_OF(vfsmount, struct mount, mnt);
	call->type = READ(super, s_type);
	call->whole = READ(vfsmount, mnt_root) == READ(super, s_root) ? KNOWN_WHOLE : 0;
}

// Whose descriptor stands for nothing that can be set up is told with the result alone.
static __always_inline void read_fsconfig(struct mount_call *call, struct task_struct *task, struct pt_regs *regs)
{
	u32 command = ARGUMENT_1(regs), trust = 0;
	struct file *file = fd_file(task, (s32)ARGUMENT_0(regs), &trust);
	bool is_path = command == FSCONFIG_SET_PATH || command == FSCONFIG_SET_PATH_EMPTY;
	call->call = CALL_FSCONFIG;
	call->flags = command;
	call->key = ARGUMENT_2(regs);
	if (is_path || command == FSCONFIG_SET_STRING)
		call->value = ARGUMENT_3(regs);
	if (file && anonymous_name(file) == NAME_8("[fscontext]")) {
		struct fs_context *context = READ(file, private_data);
		call->type = READ(context, fs_type);
		call->trust |= trust;
	} else if (call->result >= 0) {
		call->trust |= trust | FLAG_FD_RACED;
	}
}

// One program for all calls: each costs compile time at every start.
int mount_exit(SYS_EXIT_CONTEXT *ctx)
{
	struct task_struct *task = current_task();
	struct pt_regs *regs = CALL_REGS(ctx);
	struct mount_call call = { .result = CALL_RESULT(ctx) };
	u64 first = ARGUMENT_0(regs), second = ARGUMENT_1(regs);
	if (CALL_NUMBER(ctx) == SYS_MOVE_MOUNT) {
		read_move_mount(&call, task, regs);
	} else if (CALL_NUMBER(ctx) == SYS_FSCONFIG) {
		read_fsconfig(&call, task, regs);
	} else if (CALL_NUMBER(ctx) == SYS_OPEN_TREE || CALL_NUMBER(ctx) == SYS_OPEN_TREE_ATTR) {
		call.call = CALL_OPEN_TREE;
		call.source = second;
		call.flags = (u32)ARGUMENT_2(regs);
		if (!(call.flags & OPEN_TREE_CLONE))
			return 0;
	} else if (CALL_NUMBER(ctx) == SYS_MOUNT) {
		call.source = first;
		call.target = second;
		call.filesystem = ARGUMENT_2(regs);
		call.flags = ARGUMENT_3(regs);
	} else {
		bool fsopen = CALL_NUMBER(ctx) == SYS_FSOPEN;
		call.call = fsopen ? CALL_FSOPEN : CALL_UMOUNT;
		call.filesystem = fsopen ? first : 0;
		call.target = fsopen ? 0 : first;
		call.flags = second;
	}
	mount_body(task, &call);
	return 0;
}
