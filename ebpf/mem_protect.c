// SPDX-License-Identifier: GPL-2.0
//
// mem_protect: memory that was there already was made executable.
//
// Hooks: the classic tracepoints syscalls:sys_exit_mprotect (since 2.6.33) and
// pkey_mprotect (since 4.9), in the caller. Every dynamic program calls mprotect
// when it starts, never for code: without PROT_EXEC, or refused, it goes back at
// once. An ordinary build is told nothing at all.
//
// The main thread's stack and the heap are named as the kernel knows them:
// from mm->start_stack less the pages of mm->stack_vm to the environment, and from
// mm->start_brk to mm->brk. Stacks of other threads are mappings like any other.
//
// A compiler that writes code as it goes calls for every page: the same program,
// protection and region is told once a second and otherwise counted as repeated.
//
// Blind to: what is mapped executable at once, writable or not
// (library_map has files); what the READ_IMPLIES_EXEC personality adds; what the
// memory was before: code that is made code again is told, too.

#define PROT_X 4 // PROT_EXEC, include/uapi/asm-generic/mman-common.h: library_map.c has that name
#define PROT_RWX 7
#define MEM_PROTECT_OPERATION 0x30000 // beside the others' in struct access; plus the protection

#define REGION_OTHER 0
#define REGION_STACK 1
#define REGION_HEAP 2

struct mem_protect_record {
	struct record_header header;
	u64 start;
	u64 end;
	u64 protection_raw;
	u32 region;
	u32 reserved;
};

struct protected_range {
	u64 start;
	u64 end;
	u64 protection;
};

static __always_inline u32 region_of(struct mm_struct *mm, struct protected_range *range)
{
	u64 stack_low = READ(mm, start_stack) - READ(mm, stack_vm) * PAGE_SIZE;
	if (range->start <= READ(mm, env_end) && range->end > stack_low)
		return REGION_STACK;
	if (range->start < READ(mm, brk) && range->end > READ(mm, start_brk))
		return REGION_HEAP;
	return REGION_OTHER;
}

static __always_inline void mem_protect_body(struct task_struct *task, struct protected_range *range)
{
	struct access access = { .operation = MEM_PROTECT_OPERATION + (range->protection & PROT_RWX) };
	access.target_tgid = region_of(READ(task, mm), range);
	u32 region = access.target_tgid;
	if (is_access_told(task, &access)) {
		count_repeated(SLOT_mem_protect);
		return;
	}
	struct mem_protect_record *record = reserve_activity(SLOT_mem_protect, sizeof(*record));
	if (!record)
		return;
	fill_header(&record->header, KIND_mem_protect, sizeof(*record), task);
	record->start = range->start;
	record->end = range->end;
	record->protection_raw = range->protection;
	record->region = region;
	record->reserved = 0;
	submit_activity(SLOT_mem_protect, &record->header);
}

// mprotect and pkey_mprotect alike: start, length, protection.
int mem_protect_exit(SYS_EXIT_CONTEXT *ctx)
{
	struct pt_regs *regs = CALL_REGS(ctx);
	struct protected_range range = { .protection = ARGUMENT_2(regs) };
	if (!(range.protection & PROT_X) || CALL_RESULT(ctx))
		return 0;
	u64 length = ARGUMENT_1(regs);
	if (!length)
		return 0;
	range.start = ARGUMENT_0(regs);
	range.end = range.start + ((length + PAGE_SIZE - 1) & ~(PAGE_SIZE - 1ULL));
	mem_protect_body(current_task(), &range);
	return 0;
}
