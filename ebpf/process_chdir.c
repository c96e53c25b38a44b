// SPDX-License-Identifier: GPL-2.0
//
// process_chdir: a process went into another working directory.
//
// Hooks: the classic tracepoints syscalls:sys_exit_{chdir,fchdir} (since 2.6.33), in
// the caller. What failed changed nothing and is not told. Where it is now is read
// from fs->pwd, whatever the caller wrote; other tasks with the same fs may have moved
// it meanwhile (fd_shared).
//
// The record goes through the activity ring: a directory costs less than a microsecond
// to change, and a flood of them must not evict the start of a program. The same
// directory again by the same program within a second is counted as repeated; that
// another above it was renamed meanwhile does not make it another.
//
// Blind to: what setns, chroot and pivot_root do to the working
// directory, which process_namespace and process_root tell; a directory that is moved
// with those in it; the agent itself.

#define CHDIR_OPERATION 0x100000 // beside the others' in struct access

struct process_chdir_record {
	struct record_header header;
	u32 path_mnt_ns;
	u32 reserved;
	char data[NAME_ROOM];
};

static __always_inline void process_chdir_body(struct task_struct *task)
{
	struct fs_struct *fs = READ(task, fs);
	struct path pwd = READ(fs, pwd);
	struct access access = { .operation = CHDIR_OPERATION };
	if (is_own_task(task))
		return;
	note_directory(&access, pwd);
	if (is_access_told(task, &access)) {
		count_repeated(SLOT_process_chdir);
		return;
	}
	struct process_chdir_record *record = reserve_activity(SLOT_process_chdir, sizeof(*record));
	if (!record)
		return;
	fill_header(&record->header, KIND_process_chdir, __builtin_offsetof(struct process_chdir_record, data), task);
	record->path_mnt_ns = mount_namespace_of(pwd);
	record->reserved = 0;
	if (READ(fs, users) > 1)
		record->header.flags |= FLAG_FD_SHARED;
	append_path(&record->header, sizeof(*record), pwd);
	submit_activity(SLOT_process_chdir, &record->header);
}

// One program for the two calls: each costs compile time at every start.
int process_chdir_exit(SYS_EXIT_CONTEXT *ctx)
{
	if (CALL_RESULT(ctx) == 0)
		process_chdir_body(current_task());
	return 0;
}
