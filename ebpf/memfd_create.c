// SPDX-License-Identifier: GPL-2.0
//
// memfd_create: a file that exists in memory only was made.
//
// Hook: the classic tracepoint syscalls:sys_exit_memfd_create (since 3.17), in
// the caller, when the descriptor is there. The record goes through the
// lifecycle ring: a flood of file opens must not evict it.
//
// Where threads share the descriptor table the record says fd_shared; fd_raced
// when the descriptor no longer is a memfd: then the name is the one the caller
// wrote (user_memory).
//
// Blind to: memfd_secret; files of a tmpfs such as /dev/shm,
// and O_TMPFILE on it (file_open has them); in a shared table a decoy that is a
// memfd, too.

#define MEMFD_NAME_ROOM (NAME_BYTES + 8) // append_name wants room for a whole name

struct memfd_create_record {
	struct record_header header;
	struct file_info file;
	u32 flags_raw;
	u32 reserved;
	char data[MEMFD_NAME_ROOM];
};

struct memfd_call {
	s64 result;
	u64 user_name;
	u32 flags;
	u32 trust;
};

static __always_inline void append_user_name(struct record_header *header, u64 user_name)
{
	const u32 at = __builtin_offsetof(struct memfd_create_record, data);
	long length = bpf_probe_read_user_str((char *)header + at, NAME_BYTES, (void *)user_name);
	if (length <= 0) {
		header->flags |= FLAG_READ_ERROR;
		return;
	}
	header->flags |= FLAG_USER_MEMORY;
	header->len = at + length;
}

static __always_inline void append_memfd_name(struct memfd_create_record *record, struct file *file)
{
	struct dentry *dentry = READ(file, f_path.dentry);
	append_name(&record->header, sizeof(*record), READ(dentry, d_name.name));
}

// `file` is 0 when the slot was empty again.
static __always_inline void memfd_create_body(struct task_struct *task, struct file *file, struct memfd_call *call)
{
	struct memfd_create_record *record = reserve_lifecycle(SLOT_memfd_create, sizeof(*record));
	if (!record)
		return;
	fill_header(&record->header, KIND_memfd_create, __builtin_offsetof(struct memfd_create_record, data), task);
	record->header.result = call->result;
	record->header.flags |= call->trust;
	record->flags_raw = call->flags;
	record->reserved = 0;
	__builtin_memset(&record->file, 0, sizeof(record->file));
	if (file)
		fill_file(&record->file, file);
	if (record->file.memfd) {
		append_memfd_name(record, file);
	} else {
		record->header.flags |= FLAG_FD_RACED;
		__builtin_memset(&record->file, 0, sizeof(record->file));
		append_user_name(&record->header, call->user_name);
	}
	submit_lifecycle_now(SLOT_memfd_create, &record->header);
}

int memfd_create_exit_memfd_create(SYS_EXIT_CONTEXT *ctx)
{
	struct task_struct *task = current_task();
	struct pt_regs *regs = CALL_REGS(ctx);
	struct memfd_call call = { .result = CALL_RESULT(ctx) };
	if (call.result < 0)
		return 0;
	call.user_name = ARGUMENT_0(regs);
	call.flags = ARGUMENT_1(regs);
	memfd_create_body(task, fd_file(task, call.result, &call.trust), &call);
	return 0;
}
