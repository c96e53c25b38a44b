// SPDX-License-Identifier: GPL-2.0
//
// library_map: a file was mapped executable by mmap.
//
// Hook: the classic tracepoint syscalls:sys_exit_mmap (since 2.6.33), in the
// caller, whose registers still hold protection, flags and descriptor.
//
// The descriptor is looked up after the mapping was made; where threads share
// the table the record says fd_shared, or fd_raced when the slot is empty or
// holds what cannot be mapped so. There what is no regular file is told, too:
// it may be a decoy.
//
// The same file mapped by the same program, started by the same, in a cgroup is told
// once a second: a build runs a compiler a hundred times a second, and every one maps
// the C library. A file that was changed is another.
//
// Blind to: the program itself and its interpreter (the kernel maps them inside
// exec: process_exec has the program); code mapped readable and made executable
// by mprotect, or by the READ_IMPLIES_EXEC personality; code copied into
// anonymous memory; mremap and remap_file_pages; devices, save
// as above.

#define MAP_PATH_ROOM 1024 // leaf first: what is cut off a longer path is its root's end
#define PROT_EXEC 4 // include/uapi/asm-generic/mman-common.h
#define MAP_ANONYMOUS 0x20
#define FMODE_READ 0x1 // include/linux/fs.h
#define MAX_ERRNO 4095 // include/linux/err.h

struct library_map_record {
	struct record_header header;
	struct file_info file;
	char data[MAP_PATH_ROOM];
};

// What starts a program, and as whom it runs, is in the key: what would be found, or
// excused, of the one that is told is nearly always so of those that are not.
struct library_use {
	u64 library_inode;
	u64 library_changed_at_ns;
	u64 program_inode;
	u64 parent_inode; // of the program that started it
	u64 cgroup_id;
	u32 library_device;
	u32 program_device;
	u32 parent_device;
	u32 euid;
};

// When a use was last told; 2,048 a second. The kernel evicts the least recently used,
// which is then told again.
BPF_TABLE("lru_hash", struct library_use, u64, told_libraries, 2048);

static __always_inline struct written_file program_of(struct task_struct *task)
{
	struct mm_struct *mm = READ(task, mm);
	return identity_of(READ(mm, exe_file));
}

static __always_inline bool is_library_told(struct task_struct *task, struct file *library)
{
	const struct cred *cred = READ(task, cred);
	struct inode *inode = READ(library, f_inode);
	struct written_file mapped = identity_of(library);
	struct written_file program = program_of(task);
	struct written_file parent = program_of(READ(task, real_parent));
	struct library_use use = {
		.library_inode = mapped.inode,
		.library_changed_at_ns = inode_changed_at_ns(inode),
		.program_inode = program.inode,
		.parent_inode = parent.inode,
		.cgroup_id = READ(cgroup_node(task), id),
		.library_device = mapped.device,
		.program_device = program.device,
		.parent_device = parent.device,
		.euid = READ(cred, euid.val),
	};
	u64 now = bpf_ktime_get_boot_ns();
	u64 *told = told_libraries.lookup(&use);
	if (told && now - *told < REPEAT_NS)
		return true;
	told_libraries.update(&use, &now);
	return false;
}

// A mapping is refused without the right to read.
static __always_inline bool can_be_mapped(struct file *file)
{
	u32 type = file_type(file);
	return type != S_IFSOCK && type != S_IFDIR && READ(file, f_mode) & FMODE_READ;
}

// `file` is 0 when the slot was empty again: no path then, and no identity.
static __always_inline void library_map_body(struct task_struct *task, struct file *file, s64 result, u32 trust)
{
	struct library_map_record *record = reserve_activity(SLOT_library_map, sizeof(*record));
	if (!record)
		return;
	fill_header(&record->header, KIND_library_map, __builtin_offsetof(struct library_map_record, data), task);
	record->header.result = result;
	record->header.flags |= trust;
	__builtin_memset(&record->file, 0, sizeof(record->file));
	if (file) {
		fill_file(&record->file, file);
		append_path(&record->header, sizeof(*record), READ(file, f_path));
	}
	submit_activity(SLOT_library_map, &record->header);
}

int library_map_exit_mmap(SYS_EXIT_CONTEXT *ctx)
{
	struct task_struct *task = current_task();
	struct pt_regs *regs = CALL_REGS(ctx);
	s64 result = CALL_RESULT(ctx);
	u32 trust = 0;
	if (!(ARGUMENT_2(regs) & PROT_EXEC) || ARGUMENT_3(regs) & MAP_ANONYMOUS)
		return 0;
	if ((u64)result >= (u64)-MAX_ERRNO)
		return 0;
	struct file *file = fd_file(task, (s32)ARGUMENT_4(regs), &trust);
	if (file && trust & FLAG_FD_SHARED && !can_be_mapped(file))
		trust |= FLAG_FD_RACED;
	if (file && file_type(file) != S_IFREG && !(trust & FLAG_FD_SHARED))
		return 0;
	if (file && !trust && is_library_told(task, file)) {
		count_repeated(SLOT_library_map);
		return 0;
	}
	library_map_body(task, file, result, trust);
	return 0;
}
