/* SPDX-License-Identifier: Apache-2.0
 *
 * Numbered operations from two processes, one on each of two processors:
 *
 *   load exec COUNT          starts /bin/true with the number as argument
 *   load open COUNT DIR [N]  creates DIR/NUMBER for writing, and opens it N - 1 times again
 *   load connect COUNT       connects by TCP to 127.64.0.0 + number / 60000, port 1 + number % 60000
 *
 * Prints the pids of both processes on a line before they begin. What was done is
 * known by its numbers: 0 to COUNT - 1, each once, the even ones by the first
 * process. A missing event is a missing number.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define WORKERS 2
#define PORTS 60000

extern char **environ;

static void fail(const char *what)
{
	perror(what);
	exit(1);
}

static void do_exec(long number)
{
	char text[32];
	char *words[] = { "/bin/true", text, 0 };
	pid_t child;
	snprintf(text, sizeof(text), "%ld", number);
	if (posix_spawn(&child, words[0], 0, 0, words, environ))
		fail("posix_spawn");
	if (waitpid(child, 0, 0) != child)
		fail("waitpid");
}

static void do_open(long number, const char *directory, long times)
{
	char path[4096];
	snprintf(path, sizeof(path), "%s/%ld", directory, number);
	for (long i = 0; i < times; i++) {
		int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
		if (fd < 0)
			fail(path);
		close(fd);
	}
}

/* Refused or not: the kernel was asked. */
static void do_connect(long number)
{
	struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons(1 + number % PORTS) };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		fail("socket");
	to.sin_addr.s_addr = htonl((127 << 24) + (64 << 16) + number / PORTS);
	connect(fd, (struct sockaddr *)&to, sizeof(to));
	close(fd);
}

static void work(int worker, int argc, char **argv)
{
	const char *operation = argv[1];
	long count = atol(argv[2]);
	long times = argc > 4 ? atol(argv[4]) : 1;
	cpu_set_t cpu;
	CPU_ZERO(&cpu);
	CPU_SET(worker, &cpu);
	sched_setaffinity(0, sizeof(cpu), &cpu); /* where there is one processor, both share it */
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	for (long number = worker; number < count; number += WORKERS) {
		if (!strcmp(operation, "exec"))
			do_exec(number);
		else if (!strcmp(operation, "open") && argc > 3)
			do_open(number, argv[3], times);
		else if (!strcmp(operation, "connect"))
			do_connect(number);
		else
			exit(2);
	}
	exit(0);
}

int main(int argc, char **argv)
{
	pid_t workers[WORKERS];
	int begin[2], status, bad = 0;
	char byte;
	if (argc < 3) {
		fprintf(stderr, "usage: load exec|open|connect COUNT [DIRECTORY [TIMES]]\n");
		return 2;
	}
	if (pipe2(begin, O_CLOEXEC))
		fail("pipe2");
	for (int worker = 0; worker < WORKERS; worker++) {
		workers[worker] = fork();
		if (workers[worker] < 0)
			fail("fork");
		if (!workers[worker]) {
			close(begin[1]);
			read(begin[0], &byte, 1); /* until both pids are told */
			work(worker, argc, argv);
		}
	}
	printf("%d %d\n", workers[0], workers[1]);
	fflush(stdout);
	close(begin[0]);
	close(begin[1]);
	for (int worker = 0; worker < WORKERS; worker++) {
		if (waitpid(workers[worker], &status, 0) < 0 || status)
			bad = 1;
	}
	return bad;
}
