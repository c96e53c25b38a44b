// SPDX-License-Identifier: GPL-2.0
//
// process_exec: a program was started.
//
// Hook: raw tracepoint sched_process_exec (since 3.4), in the process itself,
// after the point of no return: arguments and environment are read from the
// new mm, which no other thread can reach yet; the program is bprm->file.
// Blind to: code that replaces itself without exec (a userland loader); the
// middle of an argument list over 4,096 bytes (head and tail are kept, and how
// much is missing); LD_* behind more than 512 chunks of environment (flagged).

// Text goes one piece behind the other, so a limit says where a piece must end,
// not how long it is. Nearly every exec fits the small record; what does not is
// built again in the large one, so that the ring holds three times as many.
#define SMALL_NAMES 1536 // path, cwd and cgroup together
#define SMALL_FILENAME 256
#define SMALL_ARGS 1024
#define SMALL_ENV 768
#define SMALL_DATA (SMALL_NAMES + SMALL_FILENAME + SMALL_ARGS + SMALL_ENV)
#define LARGE_NAMES 6400 // PATH_MAX (4,096) and one more name, 1,024 for cwd and for cgroup
#define LARGE_FILENAME 512
#define LARGE_ARGS 4096
#define LARGE_ENV 2048
#define LARGE_DATA (LARGE_NAMES + LARGE_FILENAME + LARGE_ARGS + LARGE_ENV)
#define ARGS_HEAD 2560 // of LARGE_ARGS
#define ARGS_TAIL 1536
#define ENV_STEPS 512 // chunks looked at: variables, or 512-byte pieces of long ones
#define ENV_BYTES 512

struct stdio_info {
	u64 inode;
	u32 mode_raw;
	u32 rdev;
	struct socket_info socket;
};

struct process_exec_record {
	struct record_header header;
	struct file_info file;
	struct stdio_info stdio[3];
	u64 parent_started_ns;
	u64 args_bytes;
	u32 parent_tgid;
	u32 interpreted;
	u32 path_end;
	u32 cwd_end;
	u32 cgroup_end;
	u32 filename_end;
	u32 args_end;
	u32 cwd_mnt_ns;
	char comm[16];
	char data[LARGE_DATA];
};

#define DATA_AT __builtin_offsetof(struct process_exec_record, data)

static __always_inline void fill_stdio(struct stdio_info *info, struct task_struct *task, int fd)
{
	u32 flags = 0;
	struct file *file = fd_file(task, fd, &flags);
	__builtin_memset(info, 0, sizeof(*info));
	if (!file)
		return;
	struct inode *inode = READ(file, f_inode);
	struct sock *sk = file_socket(file);
	info->inode = READ(inode, i_ino);
	info->mode_raw = READ(inode, i_mode);
	info->rdev = READ(inode, i_rdev);
	if (sk && is_internet(sk))
		fill_socket(&info->socket, sk);
}

// bprm->filename is the kernel's copy of the name the caller gave; for a
// script bprm->interp has been replaced by the interpreter's.
static __always_inline void append_filename(struct process_exec_record *record, struct linux_binprm *bprm,
					    const u32 limit, const u32 room)
{
	const char *filename = READ(bprm, filename);
	u32 at = *(volatile u32 *)&record->header.len;
	record->interpreted = filename != READ(bprm, interp);
	if (at > limit - room)
		return;
	long length = bpf_probe_read_kernel_str((char *)record + at, room, filename);
	if (length == room)
		record->header.flags |= FLAG_TRUNCATED;
	if (length > 0)
		record->header.len = at + length;
}

static __always_inline void append_args(struct process_exec_record *record, struct mm_struct *mm, const u32 limit,
					const u32 room)
{
	u64 start = READ(mm, arg_start);
	u64 bytes = READ(mm, arg_end) - start;
	u32 at = *(volatile u32 *)&record->header.len;
	long failed;
	record->args_bytes = bytes;
	if (at > limit - room)
		return;
	if (bytes < room) {
		bytes &= room - 1;
		failed = bpf_probe_read_user((char *)record + at, bytes, (void *)start);
	} else if (room == LARGE_ARGS) {
		bytes = room;
		if (record->args_bytes > room)
			record->header.flags |= FLAG_TRUNCATED;
		failed = bpf_probe_read_user((char *)record + at, ARGS_HEAD, (void *)start);
		failed |= bpf_probe_read_user((char *)record + at + ARGS_HEAD, ARGS_TAIL,
					      (void *)(start + record->args_bytes - ARGS_TAIL));
	} else {
		record->header.flags |= FLAG_TRUNCATED;
		return;
	}
	if (failed)
		record->header.flags |= FLAG_READ_ERROR;
	record->header.len = at + bytes;
}

// LD_PRE and LD_LIB, little-endian. Numbers and no branches, because the verifier
// follows every branch of every step.
#define LOADER_PREFIX_MASK 0xffffffffffffULL
#define LOADER_PRELOAD 0x4552505f444cULL
#define LOADER_LIBRARY 0x42494c5f444cULL

static __always_inline u64 is_zero(u64 value)
{
	return ((value - 1) & ~value) >> 63;
}

static __always_inline u32 is_loader_variable(const char *text)
{
	u64 prefix = *(const u64 *)text & LOADER_PREFIX_MASK;
	return is_zero(prefix ^ LOADER_PRELOAD) | is_zero(prefix ^ LOADER_LIBRARY);
}

// Read the environment string by string where the next kept one would go, and
// step over it only when it is LD_PRELOAD or LD_LIBRARY_PATH. Whether a step begins
// inside a long string stands in the record (`cwd_mnt_ns`, set behind it), where
// the verifier does not tell one case from the other.
static __always_inline void walk_environment(struct process_exec_record *record, struct mm_struct *mm, const u32 limit)
{
	u64 from = READ(mm, env_start);
	u64 end = READ(mm, env_end);
	ROLLED for (int step = 0; step < ENV_STEPS; step++) {
		u32 at = *(volatile u32 *)&record->header.len;
		if (from >= end)
			return;
		if (at > limit - ENV_BYTES)
			break;
		char *text = (char *)record + at;
		long length = bpf_probe_read_user_str(text, ENV_BYTES, (void *)from);
		if (length <= 0) {
			record->header.flags |= FLAG_READ_ERROR;
			return;
		}
		u32 cut = (u64)length / ENV_BYTES;
		u32 kept = is_loader_variable(text) & ~*(volatile u32 *)&record->cwd_mnt_ns;
		record->header.len = at + kept * length;
		record->header.flags |= (kept & cut) * (FLAG_TRUNCATED | FLAG_ENVIRONMENT_CUT);
		from += length - cut;
		*(volatile u32 *)&record->cwd_mnt_ns = cut;
	}
	record->header.flags |= FLAG_TRUNCATED | FLAG_ENVIRONMENT_CUT;
}

static __always_inline void fill_parent(struct process_exec_record *record, struct task_struct *task)
{
	struct task_struct *parent = READ(task, real_parent);
	struct task_struct *leader = READ(parent, group_leader);
	record->parent_tgid = READ(parent, tgid);
	record->parent_started_ns = READ(leader, start_boottime);
}

// Where each piece of text must end, and how long the last ones may be.
struct exec_limits {
	u32 path, cwd, names, filename, args, end;
	u32 filename_room, args_room;
};

static __always_inline void fill_text(struct process_exec_record *record, struct task_struct *task,
				      struct linux_binprm *bprm, struct exec_limits *limits)
{
	struct file *file = READ(bprm, file);
	struct fs_struct *fs = READ(task, fs);
	struct mm_struct *mm = READ(task, mm);
	ROLLED for (int piece = 0; piece < 2; piece++) {
		append_path(&record->header, piece ? limits->cwd : limits->path, piece ? READ(fs, pwd) : READ(file, f_path));
		if (piece)
			record->cwd_end = record->header.len;
		else
			record->path_end = record->header.len;
	}
	append_cgroup(&record->header, limits->names, task);
	record->cgroup_end = record->header.len;
	append_filename(record, bprm, limits->filename, limits->filename_room);
	record->filename_end = record->header.len;
	append_args(record, mm, limits->args, limits->args_room);
	record->args_end = record->header.len;
	record->cwd_mnt_ns = 0;
	walk_environment(record, mm, limits->end);
	record->cwd_mnt_ns = mount_namespace_of(READ(fs, pwd));
}

static __always_inline void fill_record(struct process_exec_record *record, struct task_struct *task,
					struct linux_binprm *bprm, struct exec_limits *limits)
{
	fill_header(&record->header, KIND_process_exec, DATA_AT, task);
	fill_file(&record->file, READ(bprm, file));
	ROLLED for (int fd = 0; fd < 3; fd++)
		fill_stdio(&record->stdio[fd], task, fd);
	fill_parent(record, task);
	bpf_probe_read_kernel_str(record->comm, sizeof(record->comm), &task->comm);
	fill_text(record, task, bprm, limits);
}

// One code for both sizes: it is the longest of all programs, and compiled twice it
// took a fifth of the start.
static __always_inline void process_exec_body(struct task_struct *task, struct linux_binprm *bprm)
{
	ROLLED for (int large = 0; large < 2; large++) {
		struct exec_limits limits = {
			.path = DATA_AT + (large ? LARGE_NAMES - 2048 : SMALL_NAMES - 768),
			.cwd = DATA_AT + (large ? LARGE_NAMES - 1024 : SMALL_NAMES - 512),
			.names = DATA_AT + (large ? LARGE_NAMES : SMALL_NAMES),
			.filename_room = large ? LARGE_FILENAME : SMALL_FILENAME,
			.args_room = large ? LARGE_ARGS : SMALL_ARGS,
		};
		limits.filename = limits.names + limits.filename_room;
		limits.args = limits.filename + limits.args_room;
		limits.end = limits.args + (large ? LARGE_ENV : SMALL_ENV);
		struct process_exec_record *record = reserve_lifecycle(SLOT_process_exec, limits.end);
		if (!record)
			return;
		fill_record(record, task, bprm, &limits);
		if (large || !(record->header.flags & FLAG_TRUNCATED)) {
			submit_lifecycle_now(SLOT_process_exec, &record->header);
			return;
		}
		discard_lifecycle(&record->header);
	}
}

int process_exec_raw(struct bpf_raw_tracepoint_args *ctx)
{
	process_exec_body(current_task(), (struct linux_binprm *)ctx->args[2]);
	return 0;
}
