// SPDX-License-Identifier: GPL-2.0
//
// file_open: a regular file was created or opened for writing, or is sensitive and was
// opened at all (ebpf/prelude_opens.c).
//
// Hooks: the classic tracepoints syscalls:sys_exit_{open,openat,creat} (since
// 2.6.33), open_by_handle_at (2.6.39) and openat2 (5.6), in the caller, when the descriptor is there.
// Most opens are reads: the length and the first character of the file's name send
// those back, and the flags, as the kernel took them, what opens a directory or
// nothing. openat2 keeps its flags in user memory, so there the file decides. Through
// io_uring: ebpf/prelude_uring.c, which also says when an open is told by its name
// alone (outcome_unknown).
//
// A descriptor table that threads share can change between the open and this
// hook. Then the record says fd_shared, or fd_raced when slot or file is not
// what the call asked for, and what the caller wrote goes along as second
// witness. There nothing about the file holds a record back, except that a
// regular one is neither written nor new: a device, FIFO, socket or directory
// may be a decoy.
//
// The same program that opens the same file for writing again within a second is
// counted as repeated and not told: nothing new is known by it. Any other writer
// in between is told, and so is the return of the first, so that the last one to
// write is always known; what is new, or not certain (fd_shared), is always told, and
// so is a sensitive file that is emptied, though its writer just added to it.
// So it is with reading a sensitive file, of which each reader is told.
//
// Beyond PLAIN_WRITES a second of one cgroup what is neither new, nor a program, nor
// sensitive is counted as throttled: a flood must not push out what others do.
//
// Blind to: opens inside the kernel (core dumps); descriptors received from others
// (SCM_RIGHTS, pidfd_getfd) or inherited; O_PATH; writes through a mapping; the agent itself.
// In a shared table a decoy regular file of the same access mode is named, and
// only the user path tells; any decoy that is not written escapes when openat2's
// flags, too, were changed to a read in time, and behind a decoy that is not
// sensitive a read does. Through io_uring a read is told where its end is seen.

#define OPEN_PATH_ROOM 1024 // leaf first: what is cut off a longer path is its root's end
#define USER_PATH_BYTES 256
#define O_ACCMODE 3 // include/uapi/asm-generic/fcntl.h
#define O_WRONLY 1
#define O_RDWR 2
#define O_CREAT 0100
#define O_TRUNC 01000
#define O_PATH 010000000

struct file_open_record {
	struct record_header header;
	struct file_info file;
	struct target_info target;
	u32 flags_raw;
	u32 created;
	u32 path_end;
	u32 sensitive; // as is_listed answers
	char data[OPEN_PATH_ROOM + USER_PATH_BYTES];
};

#define OPEN_PATH_LIMIT (__builtin_offsetof(struct file_open_record, data) + OPEN_PATH_ROOM)
#define USER_PATH_LIMIT (OPEN_PATH_LIMIT + USER_PATH_BYTES)

// What the call said; `trust` is what looking up its descriptor came to (FLAG_*).
struct open_call {
	s64 result;
	u64 user_path;
	u32 flags;
	u32 trust;
	u32 path_in_kernel; // user_path is the address of the kernel's own copy
	u32 sensitive;
	u32 may_write; // the flags say so, or are not certain
	u32 reserved;
};

// O_PATH makes the kernel forget every flag that could write (build_open_flags).
static __always_inline bool wants_to_write(u32 flags)
{
	u32 mode = flags & O_ACCMODE;
	if (flags & O_PATH)
		return false;
	return mode == O_WRONLY || mode == O_RDWR || flags & (O_CREAT | O_TRUNC);
}

// An open for writing gives no socket and no directory, and the mode asked for.
static __always_inline bool contradicts(struct file *file, u32 flags)
{
	u32 type = file_type(file);
	return type == S_IFSOCK || type == S_IFDIR || (READ(file, f_flags) ^ flags) & O_ACCMODE;
}

// O_TRUNC empties a file that is opened to read, too.
static __always_inline bool is_emptied(struct file *file, u32 flags)
{
	return flags & O_TRUNC && !(flags & O_PATH) && file_type(file) == S_IFREG;
}

static __always_inline bool is_worth_telling(struct file *file, struct open_call *call)
{
	if (file && call->may_write && is_written(file))
		return true;
	if (file && is_emptied(file, call->flags))
		return true;
	if (!wants_to_write(call->flags))
		return !file && call->trust & FLAG_FD_SHARED; // a read that was hidden
	if (!file || call->trust & FLAG_FD_RACED)
		return true;
	return call->trust & FLAG_FD_SHARED && file_type(file) != S_IFREG;
}

static __always_inline bool is_repeated(struct task_struct *task, struct file *file)
{
	return is_written(file) ? is_write_repeated(task, file) : is_read_repeated(task, file);
}

static __always_inline void append_user_path(struct record_header *header, struct open_call *call)
{
	u32 at = *(volatile u32 *)&header->len;
	char *to = (char *)header + at;
	long length;
	if (at > USER_PATH_LIMIT - USER_PATH_BYTES)
		return;
	if (call->path_in_kernel)
		length = bpf_probe_read_kernel_str(to, USER_PATH_BYTES, (void *)call->user_path);
	else
		length = bpf_probe_read_user_str(to, USER_PATH_BYTES, (void *)call->user_path);
	if (length <= 0) {
		header->flags |= FLAG_READ_ERROR;
		return;
	}
	if (!call->path_in_kernel)
		header->flags |= FLAG_USER_MEMORY;
	if (length == USER_PATH_BYTES)
		header->flags |= FLAG_TRUNCATED;
	header->len = at + length;
}

// `file` is 0 when the slot was empty again: no path then, and no identity.
static __always_inline void file_open_body(struct task_struct *task, struct file *file, struct open_call *call)
{
	struct file_open_record *record = reserve_activity(SLOT_file_open, sizeof(*record));
	if (!record)
		return;
	fill_header(&record->header, KIND_file_open, __builtin_offsetof(struct file_open_record, data), task);
	record->header.result = call->result;
	record->header.flags |= call->trust;
	record->flags_raw = call->flags;
	record->created = 0;
	record->sensitive = call->sensitive;
	fill_target(&record->target, file ? process_of(file) : 0, 0);
	__builtin_memset(&record->file, 0, sizeof(record->file));
	if (file) {
		fill_file(&record->file, file);
		record->flags_raw = READ(file, f_flags) | (call->flags & O_TRUNC); // the kernel forgets that it emptied it
		record->created = (READ(file, f_mode) & FMODE_CREATED) != 0;
		append_path(&record->header, OPEN_PATH_LIMIT, READ(file, f_path));
	}
	record->path_end = record->header.len;
	if (record->header.flags & (FLAG_FD_SHARED | FLAG_FD_RACED | FLAG_OUTCOME_UNKNOWN) && call->user_path)
		append_user_path(&record->header, call);
	submit_activity(SLOT_file_open, &record->header);
}

static __always_inline bool may_be_withheld(struct file *file, struct open_call *call)
{
	bool certain = !(call->trust & (FLAG_FD_RACED | FLAG_OUTCOME_UNKNOWN));
	return certain && !call->sensitive && is_plain_write(file);
}

static __always_inline void file_opened(struct task_struct *task, struct file *file, struct open_call *call)
{
	if (file && !call->trust && call->may_write && !(call->flags & O_TRUNC) && is_write_known(task, file)) {
		count_repeated(SLOT_file_open);
		return;
	}
	if (file && call->trust & FLAG_FD_SHARED && contradicts(file, call->flags))
		call->trust |= FLAG_FD_RACED;
	call->sensitive = file ? is_sensitive(file, call->may_write) : 0;
	if (!call->sensitive && !is_worth_telling(file, call) || is_own_task(task))
		return;
	if (file && !call->trust && is_repeated(task, file) && !(call->sensitive && call->flags & O_TRUNC)) {
		count_repeated(SLOT_file_open);
		return;
	}
	if (file && may_be_withheld(file, call) && is_over_budget(task)) {
		count_throttled(SLOT_file_open);
		return;
	}
	file_open_body(task, file, call);
}

// What the registers say of each call. openat2 keeps its flags in user memory,
// where they may have changed since the kernel took its copy: a file that is
// written is told whatever they say.
static __always_inline u32 flags_of_call(s32 id, struct pt_regs *regs)
{
	u32 flags = 0;
	if (id == SYS_CREAT)
		return O_CREAT | O_WRONLY;
	if (id == SYS_OPEN)
		return ARGUMENT_1(regs);
	if (id != SYS_OPENAT2)
		return ARGUMENT_2(regs);
	struct open_how *how = (struct open_how *)ARGUMENT_2(regs);
	bpf_probe_read_user(&flags, sizeof(flags), &how->flags);
	return flags;
}

// One program for the five calls: each costs compile time at every start.
int file_open_exit(SYS_EXIT_CONTEXT *ctx)
{
	struct open_call call = { .result = CALL_RESULT(ctx) };
	struct pt_regs *regs = CALL_REGS(ctx);
	s32 id = CALL_NUMBER(ctx);
	if (call.result < 0)
		return 0;
	call.flags = flags_of_call(id, regs);
	call.may_write = id == SYS_OPENAT2 || wants_to_write(call.flags);
	if (!call.may_write && call.flags & (O_PATH | O_DIRECTORY))
		return 0;
	struct task_struct *task = current_task();
	struct file *file = fd_file(task, call.result, &call.trust);
	if (call.trust && id != SYS_OPEN_BY_HANDLE_AT) // which is told no name
		call.user_path = id == SYS_OPEN || id == SYS_CREAT ? ARGUMENT_0(regs) : ARGUMENT_1(regs);
	file_opened(task, file, &call);
	return 0;
}

#if KERNEL_HAS(io_kiocb, cmd)
int file_open_uring(struct bpf_raw_tracepoint_args *ctx)
{
	struct uring_call asked = {};
	struct open_call call = { .path_in_kernel = 1 };
	if (take_uring_call(&asked)) {
		struct io_open *open = (struct io_open *)asked.command;
		struct file *file = uring_opened_file(&asked, READ(open, file_slot));
		call.result = asked.result;
		call.flags = READ(open, how.flags);
		call.may_write = wants_to_write(call.flags);
		call.user_path = uring_first_text(&asked);
		call.trust = asked.trust | VIA_IO_URING;
		file_opened((struct task_struct *)asked.task, file, &call);
	}
	forget_uring_call(&asked);
	return 0;
}
#endif
