// SPDX-License-Identifier: GPL-2.0
//
// Calls that come in through io_uring: three programs see every request, and hand
// those that a probe is for to the probe, by opcode, with a tail call. Joined behind
// prelude_names.c.
//
// Hooks: the raw tracepoints io_uring_submit_req (since 6.3), where a request has
// been read and its names are in kernel memory, but nothing is done yet;
// io_uring_complete, where its result is known and its names are gone; and
// io_uring_cqe_overflow, which comes instead of the latter when the program has left
// no room for results. So names are kept from the one to the others.
//
// A request may ask for no word of its success (IOSQE_CQE_SKIP_SUCCESS), and one that
// overflows cannot be told from another with the same user_data. Whatever may end
// unseen is told when it is asked for, or by its name alone, as outcome_unknown:
// leaving no room for results buys nobody silence.
//
// The task is the one that submitted, or the SQPOLL thread of its process. Workers
// do most of these requests beside it and share its descriptor table and its working
// directory, whence fd_shared. The ids are the task's, not those of a personality
// that was registered with the ring. What is submitted into the ring of another
// process (handed on by fork or SCM_RIGHTS) is that one's deed where its SQPOLL
// thread takes it, and the submitter's where he calls io_uring_enter.

// include/uapi/linux/io_uring.h; numbers are never given out twice.
#define URING_OPENAT 18
#define URING_OPENAT2 28
#define URING_RENAMEAT 35
#define URING_UNLINKAT 36
#define URING_SYMLINKAT 38
#define URING_LINKAT 39
#define URING_SKIP_SUCCESS (1 << 6) // IOSQE_CQE_SKIP_SUCCESS, and REQ_F_CQE_SKIP is the same bit
#define URING_ALLOCATED_SLOT (~0U) // IORING_FILE_INDEX_ALLOC

#define URING_COMMAND_BYTES 56 // io_cmd_data.data: what a request keeps of its arguments

// A program in this array is handed each request of that opcode which has ended, or
// may end unseen; it begins with take_uring_call, and ends with forget_uring_call.
BPF_PROG_ARRAY(uring_calls, 64);

struct uring_key {
	u64 ring;
	u64 user_data;
};

// The kernel's copy of a name, or of a long one its end.
struct uring_name {
	char text[NAME_TEXT_BYTES];
	u32 cut_from; // the first character of what did not fit, 0 when all of it did
	u32 reserved;
};

// What was asked for and has not ended.
struct uring_request {
	u64 request; // struct io_kiocb
	u32 opcode;
	u32 reserved;
	u8 command[8 + URING_COMMAND_BYTES]; // struct io_open, io_rename, ...
	struct uring_name first;
	struct uring_name second;
};

// What a program in uring_calls is handed.
struct uring_call {
	struct uring_key key;
	u64 task;
	u64 command; // address of struct io_open, io_rename, ...
	u64 asked; // address of the struct uring_request, 0 when it was not kept
	u64 finished; // 0: told by what was asked for alone
	s64 result;
	u32 trust; // FLAG_*
	u32 opcode;
};

#if KERNEL_HAS(io_kiocb, cmd)
// 512 of these requests in flight at one moment; the kernel evicts the least recently
// used, of which a file that it opened is told, and a name it changed is counted as lost.
BPF_TABLE("lru_hash", struct uring_key, struct uring_request, uring_requests, 512);
BPF_ARRAY(uring_blank, struct uring_request, 1); // larger than a program's stack

// Key: the thread, which is in one tracepoint at a time.
BPF_TABLE("lru_hash", u64, struct uring_call, uring_handed, 256);

#define URING_BIT(opcode) (1ULL << (opcode))
#define URING_TOLD                                                                                   \
	(URING_BIT(URING_OPENAT) | URING_BIT(URING_OPENAT2) | URING_BIT(URING_RENAMEAT) |            \
	 URING_BIT(URING_UNLINKAT) | URING_BIT(URING_SYMLINKAT) | URING_BIT(URING_LINKAT))

static __always_inline bool is_uring_told(u32 opcode)
{
	return opcode < 64 && URING_TOLD >> opcode & 1;
}

static __always_inline struct task_struct *uring_task(struct io_kiocb *request)
{
#if KERNEL_HAS(io_kiocb, tctx)
	struct io_uring_task *context = READ(request, tctx);
	return READ(context, task);
#else
	return READ(request, task); // until 6.12
#endif
}

static __always_inline void keep_name(struct uring_name *kept, struct filename *name)
{
	struct name_source source = { .address = (u64)READ(name, name), .in_kernel = 1 };
	if (read_text(kept->text, &source, 0) < NAME_TEXT_BYTES)
		return;
	char first = kept->text[0];
	u64 start = text_end(kept->text, &source);
	read_text(kept->text, &source, start);
	kept->cut_from = start ? first : 0;
}

static __always_inline void keep_names(struct uring_request *asked, void *command, u32 opcode)
{
	struct io_rename *rename = command;
	struct io_unlink *unlink = command;
	struct io_open *open = command;
	struct io_link *link = command;
	struct filename *first, *second = 0;
	if (opcode == URING_UNLINKAT) {
		first = READ(unlink, filename);
	} else if (opcode == URING_RENAMEAT) {
		first = READ(rename, oldpath);
		second = READ(rename, newpath);
	} else if (opcode == URING_LINKAT || opcode == URING_SYMLINKAT) {
		first = READ(link, oldpath);
		second = READ(link, newpath);
	} else {
		first = READ(open, filename);
	}
	keep_name(&asked->first, first);
	if (second)
		keep_name(&asked->second, second);
}

// An open that neither writes nor creates is told by its file, if at all.
static __always_inline bool changes_nothing(struct io_kiocb *request, u32 opcode)
{
	struct io_open *open = (struct io_open *)request;
	if (opcode != URING_OPENAT && opcode != URING_OPENAT2)
		return false;
	return !(READ(open, how.flags) & 01103); // O_WRONLY, O_RDWR, O_CREAT, O_TRUNC
}

// Comes back when there is no program for the opcode.
static __always_inline void hand_over(struct bpf_raw_tracepoint_args *ctx, struct uring_call *call)
{
	u64 thread = bpf_get_current_pid_tgid();
	uring_handed.update(&thread, call);
	uring_calls.call(ctx, call->opcode);
	if (call->asked)
		uring_requests.delete(&call->key);
}

// Room to note what a request asks for, 0 when there is none.
static __always_inline struct uring_request *new_uring_request(struct uring_key *key)
{
	u32 none = 0;
	struct uring_request *blank = uring_blank.lookup(&none);
	if (!blank)
		return 0;
	uring_requests.update(key, blank);
	return uring_requests.lookup(key);
}

int uring_submitted(struct bpf_raw_tracepoint_args *ctx)
{
	struct io_kiocb *request = (struct io_kiocb *)ctx->args[0];
	u32 opcode = READ(request, opcode);
	struct uring_call call = { .opcode = opcode, .task = bpf_get_current_task(), .trust = FLAG_OUTCOME_UNKNOWN };
	if (!is_uring_told(opcode) || changes_nothing(request, opcode))
		return 0;
	call.key.ring = (u64)READ(request, ctx);
	call.key.user_data = READ(request, cqe.user_data);
	bool at_once = READ(request, flags) & URING_SKIP_SUCCESS || uring_requests.lookup(&call.key);
	if (at_once)
		call.key.ring = (u64)request;
	struct uring_request *asked = new_uring_request(&call.key);
	if (!asked)
		return 0;
	asked->request = (u64)request;
	asked->opcode = opcode;
	bpf_probe_read_kernel(asked->command, sizeof(asked->command), request);
	keep_names(asked, request, opcode);
	call.asked = (u64)asked;
	call.command = (u64)asked->command;
	if (at_once)
		hand_over(ctx, &call);
	return 0;
}

int uring_completed(struct bpf_raw_tracepoint_args *ctx)
{
	struct io_kiocb *request = (struct io_kiocb *)ctx->args[1]; // 0 for a result that is no request's
	u32 opcode = READ(request, opcode);
	struct uring_call call = { .opcode = opcode, .finished = 1 };
	if (!is_uring_told(opcode))
		return 0;
	call.key.ring = ctx->args[0];
	call.key.user_data = READ(request, cqe.user_data);
	struct uring_request *asked = uring_requests.lookup(&call.key);
	if (asked && asked->request == (u64)request)
		call.asked = (u64)asked;
	call.task = (u64)uring_task(request);
	call.command = (u64)request;
	call.result = READ(request, cqe.res); // that in the ring is the program's to change
	hand_over(ctx, &call);
	return 0;
}

int uring_overflowed(struct bpf_raw_tracepoint_args *ctx)
{
	struct uring_call call = { .task = bpf_get_current_task(), .trust = FLAG_OUTCOME_UNKNOWN };
	call.key.ring = ctx->args[0];
	call.key.user_data = ctx->args[1];
	struct uring_request *asked = uring_requests.lookup(&call.key);
	if (!asked)
		return 0;
	call.opcode = asked->opcode;
	call.asked = (u64)asked;
	call.command = (u64)asked->command;
	hand_over(ctx, &call);
	return 0;
}

// What this program was called for; false when there is nothing to tell.
static __always_inline bool take_uring_call(struct uring_call *call)
{
	u64 thread = bpf_get_current_pid_tgid();
	struct uring_call *handed = uring_handed.lookup(&thread);
	if (!handed)
		return false;
	*call = *handed;
	uring_handed.delete(&thread);
	return call->result >= 0 && !is_own_task((struct task_struct *)call->task);
}

// Where the first name is, 0 when it was not kept.
static __always_inline u64 uring_first_text(struct uring_call *call)
{
	return call->asked ? call->asked + __builtin_offsetof(struct uring_request, first.text) : 0;
}

// Whether there are names to tell; counted as lost when there are none.
static __always_inline bool uring_was_kept(struct uring_call *call, u32 slot)
{
	if (!call->asked && !is_switched_off(slot))
		count_failed(slot);
	return call->asked != 0;
}

static __always_inline struct uring_name *uring_first_name(struct uring_call *call)
{
	return (struct uring_name *)(call->asked + __builtin_offsetof(struct uring_request, first));
}

static __always_inline struct uring_name *uring_second_name(struct uring_call *call)
{
	return (struct uring_name *)(call->asked + __builtin_offsetof(struct uring_request, second));
}

// A name that was kept.
static __always_inline struct name_source uring_name_source(struct uring_name *kept, s32 dirfd)
{
	struct name_source source = { .address = (u64)kept->text, .dirfd = dirfd, .in_kernel = 1 };
	source.cut_from = READ(kept, cut_from);
	return source;
}

static __always_inline void forget_uring_call(struct uring_call *call)
{
	if (call->asked)
		uring_requests.delete(&call->key);
}

// The file that a request put into the ring's own table, under the ring's lock, which
// is let go before it completes: the slot can be given to another meanwhile.
static __always_inline struct file *uring_slot_file(struct uring_call *call, u32 slot)
{
#if KERNEL_HAS(io_file_table, data) && KERNEL_HAS(io_rsrc_node, file_ptr) // since 6.13
	struct io_ring_ctx *ring = (struct io_ring_ctx *)call->key.ring;
	struct io_rsrc_node **nodes = READ(ring, file_table.data.nodes);
	struct io_rsrc_node *node = 0;
	u64 at = slot == URING_ALLOCATED_SLOT ? call->result : slot - 1;
	call->trust |= FLAG_FD_SHARED;
	if (at < READ(ring, file_table.data.nr))
		bpf_probe_read_kernel(&node, sizeof(node), nodes + at);
	u64 file = node ? READ(node, file_ptr) & ~3ULL : 0; // FFS_NOWAIT, FFS_ISREG
	if (!file)
		call->trust |= FLAG_FD_RACED;
	return (struct file *)file;
#else
	call->trust |= FLAG_FD_RACED;
	return 0;
#endif
}

// The file that an open has come to, 0 when it is not known.
static __always_inline struct file *uring_opened_file(struct uring_call *call, u32 slot)
{
	if (!call->finished)
		return 0;
	if (slot)
		return uring_slot_file(call, slot);
	return fd_file_by_reads((struct task_struct *)call->task, call->result, &call->trust);
}
#endif
