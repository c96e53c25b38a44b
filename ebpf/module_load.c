// SPDX-License-Identifier: GPL-2.0
//
// module_load: code was put into the kernel as a module, or somebody tried.
//
// Hooks: the classic tracepoints syscalls:sys_exit_init_module (since 2.6.33) and
// finit_module (since 3.8), in the caller; a kernel that takes no modules
// (CONFIG_MODULES) has no hook and nothing to see. What failed is told, too, with its
// result. The record goes through the lifecycle ring: a flood of file opens must not
// evict it.
//
// The file that finit_module is given is named by the kernel, by its descriptor once
// the call is over. Parameters are what the caller wrote (user_memory).
//
// The same call by the same program that fails for the same reason within a second
// is counted as repeated; whatever succeeds is told.
//
// Blind to: what init_module is given, which is memory, and the name in it; modules
// that the kernel asks for by itself come from its modprobe, which is told as any
// program; delete_module.

#define MODULE_PATH_ROOM 1024 // leaf first: what is cut off a longer path is its root's end
#define MODULE_TEXT_BYTES 256
#define MODULE_OPERATION 0xc0000 // beside the others' in struct access; plus the call

struct module_load_record {
	struct record_header header;
	u64 flags_raw;
	u64 size_bytes;
	u32 by_file;
	u32 parameters_known;
	char parameters[MODULE_TEXT_BYTES];
	char data[MODULE_PATH_ROOM];
};

static __always_inline void read_parameters(struct module_load_record *record, u64 from)
{
	long length = bpf_probe_read_user_str(record->parameters, MODULE_TEXT_BYTES, (void *)from);
	record->parameters_known = length > 0;
	record->header.flags |= length > 0 ? FLAG_USER_MEMORY : FLAG_READ_ERROR;
	if (length == MODULE_TEXT_BYTES)
		record->header.flags |= FLAG_TRUNCATED;
}

int module_load_exit(SYS_EXIT_CONTEXT *ctx)
{
	struct task_struct *task = current_task();
	struct pt_regs *regs = CALL_REGS(ctx);
	s64 result = CALL_RESULT(ctx);
	bool by_file = CALL_NUMBER(ctx) == SYS_FINIT_MODULE;
	u64 second = ARGUMENT_1(regs), third = ARGUMENT_2(regs);
	struct access access = { .operation = MODULE_OPERATION + by_file, .error = result };
	if (result < 0 && is_access_told(task, &access)) {
		count_repeated(SLOT_module_load);
		return 0;
	}
	struct module_load_record *record = reserve_lifecycle(SLOT_module_load, sizeof(*record));
	if (!record)
		return 0;
	__builtin_memset(record->parameters, 0, sizeof(record->parameters));
	fill_header(&record->header, KIND_module_load, __builtin_offsetof(struct module_load_record, data), task);
	record->header.result = result;
	record->flags_raw = by_file ? (u32)third : 0;
	record->size_bytes = by_file ? 0 : second;
	record->by_file = by_file;
	read_parameters(record, by_file ? second : third);
	u32 trust = 0;
	struct file *file = by_file && result != -EBADF ? fd_file(task, (s32)ARGUMENT_0(regs), &trust) : 0;
	record->header.flags |= trust;
	if (file)
		append_path(&record->header, sizeof(*record), READ(file, f_path));
	submit_lifecycle(SLOT_module_load, &record->header);
	return 0;
}
