// SPDX-License-Identifier: GPL-2.0
//
// process_root: a process was given another root directory, or tried to.
//
// Hooks: the classic tracepoints syscalls:sys_exit_{chroot,pivot_root} (since 2.6.33),
// in the caller. What failed is told, too, with its result. The record goes through the
// lifecycle ring: a flood of file opens must not evict it.
//
// Where the root is now is read from fs->root once the call has succeeded, and is true
// whatever the caller wrote; other threads with the same fs->root may have moved it
// meanwhile (fd_shared). What the caller wrote goes along (user_memory): it is all
// there is of an attempt that failed.
//
// The same call by the same program with the same outcome (the same directory, or the
// same error) within a second is counted as repeated.
//
// Blind to: roots changed by setns and unshare, which
// process_namespace tells, and by the pivot_root of another process, which moves all
// whose root was the old one; the agent itself.

#define ROOT_TEXT_BYTES 256
#define ROOT_OPERATION 0xd0000 // beside the others' in struct access; plus the call

#define CALL_CHROOT 0
#define CALL_PIVOT_ROOT 1

#define KNOWN_WRITTEN 1
#define KNOWN_PUT_OLD 2

struct process_root_record {
	struct record_header header;
	u32 call;
	u32 known;
	char written[ROOT_TEXT_BYTES];
	char put_old[ROOT_TEXT_BYTES];
	char data[NAME_ROOM];
};

struct root_call {
	s64 result;
	u64 written;
	u64 put_old;
	u32 call;
	u32 reserved;
};

static __always_inline void read_written(struct process_root_record *record, char *to, u32 known, u64 from)
{
	long length = bpf_probe_read_user_str(to, ROOT_TEXT_BYTES, (void *)from);
	record->header.flags |= FLAG_USER_MEMORY;
	if (length > 0)
		record->known |= known;
	if (length <= 0)
		record->header.flags |= FLAG_READ_ERROR;
	if (length == ROOT_TEXT_BYTES)
		record->header.flags |= FLAG_TRUNCATED;
}

static __always_inline void fill_root(struct process_root_record *record, struct root_call *call, struct fs_struct *fs)
{
	record->call = call->call;
	record->header.result = call->result;
	read_written(record, record->written, KNOWN_WRITTEN, call->written);
	if (call->call == CALL_PIVOT_ROOT)
		read_written(record, record->put_old, KNOWN_PUT_OLD, call->put_old);
	if (READ(fs, users) > 1)
		record->header.flags |= FLAG_FD_SHARED;
	if (call->result == 0)
		append_path(&record->header, sizeof(*record), READ(fs, root));
}

static __always_inline void process_root_body(struct task_struct *task, struct root_call *call)
{
	struct fs_struct *fs = READ(task, fs);
	struct access access = { .operation = ROOT_OPERATION + call->call, .error = call->result };
	if (is_own_task(task))
		return;
	if (call->result == 0)
		note_directory(&access, READ(fs, root));
	if (is_access_told(task, &access)) {
		count_repeated(SLOT_process_root);
		return;
	}
	struct process_root_record *record = reserve_lifecycle(SLOT_process_root, sizeof(*record));
	if (!record)
		return;
	__builtin_memset(record, 0, __builtin_offsetof(struct process_root_record, data));
	fill_header(&record->header, KIND_process_root, __builtin_offsetof(struct process_root_record, data), task);
	fill_root(record, call, fs);
	submit_lifecycle(SLOT_process_root, &record->header);
}

// One program for the two calls: each costs compile time at every start.
int process_root_exit(SYS_EXIT_CONTEXT *ctx)
{
	struct pt_regs *regs = CALL_REGS(ctx);
	struct root_call call = { .result = CALL_RESULT(ctx), .written = ARGUMENT_0(regs) };
	if (CALL_NUMBER(ctx) == SYS_PIVOT_ROOT) {
		call.call = CALL_PIVOT_ROOT;
		call.put_old = ARGUMENT_1(regs);
	}
	process_root_body(current_task(), &call);
	return 0;
}
