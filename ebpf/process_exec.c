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

#define PATH_ROOM 4352 // PATH_MAX (4,096) and one more name
#define CWD_ROOM 1024
#define CGROUP_ROOM 768
#define FILENAME_BYTES 512
#define ARGS_BYTES 4096
#define ARGS_HEAD 2560
#define ARGS_TAIL 1536
#define ENV_STEPS 512 // chunks looked at: variables, or 512-byte pieces of long ones
#define ENV_BYTES 512
#define ENV_ROOM 2048

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
	u32 reserved;
	char comm[16];
	char data[PATH_ROOM + CWD_ROOM + CGROUP_ROOM + FILENAME_BYTES + ARGS_BYTES + ENV_ROOM];
};

#define PATH_LIMIT (__builtin_offsetof(struct process_exec_record, data) + PATH_ROOM)
#define CWD_LIMIT (PATH_LIMIT + CWD_ROOM)
#define CGROUP_LIMIT (CWD_LIMIT + CGROUP_ROOM)
#define FILENAME_LIMIT (CGROUP_LIMIT + FILENAME_BYTES)
#define ARGS_LIMIT (FILENAME_LIMIT + ARGS_BYTES)
#define ENV_LIMIT (ARGS_LIMIT + ENV_ROOM)

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
static __always_inline void append_filename(struct process_exec_record *record, struct linux_binprm *bprm)
{
	const char *filename = READ(bprm, filename);
	u32 at = *(volatile u32 *)&record->header.len;
	record->interpreted = filename != READ(bprm, interp);
	if (at > FILENAME_LIMIT - FILENAME_BYTES)
		return;
	long length = bpf_probe_read_kernel_str((char *)record + at, FILENAME_BYTES, filename);
	if (length == FILENAME_BYTES)
		record->header.flags |= FLAG_TRUNCATED;
	if (length > 0)
		record->header.len = at + length;
}

static __always_inline void append_args(struct process_exec_record *record, struct mm_struct *mm)
{
	u64 start = READ(mm, arg_start);
	u64 bytes = READ(mm, arg_end) - start;
	u32 at = *(volatile u32 *)&record->header.len;
	long failed;
	record->args_bytes = bytes;
	if (at > ARGS_LIMIT - ARGS_BYTES)
		return;
	if (bytes < ARGS_BYTES) {
		bytes &= ARGS_BYTES - 1;
		failed = bpf_probe_read_user((char *)record + at, bytes, (void *)start);
	} else {
		bytes = ARGS_BYTES;
		if (record->args_bytes > ARGS_BYTES)
			record->header.flags |= FLAG_TRUNCATED;
		failed = bpf_probe_read_user((char *)record + at, ARGS_HEAD, (void *)start);
		failed |= bpf_probe_read_user((char *)record + at + ARGS_HEAD, ARGS_TAIL,
					      (void *)(start + record->args_bytes - ARGS_TAIL));
	}
	if (failed)
		record->header.flags |= FLAG_READ_ERROR;
	record->header.len = at + bytes;
}

static __always_inline bool is_loader_variable(const char *text)
{
	return text[0] == 'L' && text[1] == 'D' && text[2] == '_' &&
	       ((text[3] == 'P' && text[4] == 'R' && text[5] == 'E') ||
		(text[3] == 'L' && text[4] == 'I' && text[5] == 'B'));
}

// Read the environment string by string where the next kept one would go, and
// step over it only when it is LD_PRELOAD or LD_LIBRARY_PATH.
static __always_inline void append_environment(struct process_exec_record *record, struct mm_struct *mm)
{
	u64 from = READ(mm, env_start);
	u64 end = READ(mm, env_end);
	bool at_start = true;
	for (int step = 0; step < ENV_STEPS; step++) {
		u32 at = *(volatile u32 *)&record->header.len;
		if (from >= end)
			return;
		if (at > ENV_LIMIT - ENV_BYTES)
			break;
		char *text = (char *)record + at;
		long length = bpf_probe_read_user_str(text, ENV_BYTES, (void *)from);
		if (length <= 0) {
			record->header.flags |= FLAG_READ_ERROR;
			return;
		}
		bool whole = length < ENV_BYTES;
		if (at_start && is_loader_variable(text)) {
			record->header.len = at + length;
			if (!whole)
				record->header.flags |= FLAG_TRUNCATED;
		}
		from += whole ? length : length - 1;
		at_start = whole;
	}
	record->header.flags |= FLAG_TRUNCATED;
}

static __always_inline void fill_parent(struct process_exec_record *record, struct task_struct *task)
{
	struct task_struct *parent = READ(task, real_parent);
	struct task_struct *leader = READ(parent, group_leader);
	record->parent_tgid = READ(parent, tgid);
	record->parent_started_ns = READ(leader, start_boottime);
}

static __always_inline void process_exec_body(struct task_struct *task, struct linux_binprm *bprm)
{
	struct process_exec_record *record;
	struct file *file = READ(bprm, file);
	struct fs_struct *fs = READ(task, fs);
	struct mm_struct *mm = READ(task, mm);
	record = reserve_lifecycle(SLOT_process_exec, sizeof(*record));
	if (!record)
		return;
	fill_header(&record->header, KIND_process_exec, __builtin_offsetof(struct process_exec_record, data), task);
	fill_file(&record->file, file);
	fill_stdio(&record->stdio[0], task, 0);
	fill_stdio(&record->stdio[1], task, 1);
	fill_stdio(&record->stdio[2], task, 2);
	fill_parent(record, task);
	record->reserved = 0;
	bpf_probe_read_kernel_str(record->comm, sizeof(record->comm), &task->comm);
	append_path(&record->header, PATH_LIMIT, READ(file, f_path));
	record->path_end = record->header.len;
	append_path(&record->header, CWD_LIMIT, READ(fs, pwd));
	record->cwd_end = record->header.len;
	append_cgroup(&record->header, CGROUP_LIMIT, task);
	record->cgroup_end = record->header.len;
	append_filename(record, bprm);
	record->filename_end = record->header.len;
	append_args(record, mm);
	record->args_end = record->header.len;
	append_environment(record, mm);
	submit_lifecycle(SLOT_process_exec, &record->header);
}

int process_exec_raw(struct bpf_raw_tracepoint_args *ctx)
{
	process_exec_body((struct task_struct *)ctx->args[0], (struct linux_binprm *)ctx->args[2]);
	return 0;
}
