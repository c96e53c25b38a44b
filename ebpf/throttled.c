// SPDX-License-Identifier: GPL-2.0
//
// throttled: a cgroup opened more files for writing than its budget allows.
//
// Hook: none of its own. The programs of file_open keep the flood in a map (floods,
// ebpf/prelude_opens.c), beside the header of whoever was over the budget first; the
// agent looks there once a second, tells what was withheld since, and takes out who
// was quiet. So nothing is written into a ring for it, however many are flooding.
//
// Blind to: floods beyond 256 cgroups at one time, and a flood's last moments when the
// agent is killed; both are in the counter throttled of file_open.
