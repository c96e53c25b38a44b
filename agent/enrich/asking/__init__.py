"""What a container's runtime says of it: asked by threads of their own, never while an event is looked at.

files first     states.py   what runc, crun and containerd write below /run: local, and there while the container is
                storage.py  what podman and cri-o write beside it
then sockets    cri.py      containerd and cri-o, by gRPC
                docker.py   docker and podman, by HTTP

asker.py puts the questions, arrivals.py notices sockets that appear, said.py bounds whatever comes back.

All of it is hostile: a label is text of whoever started the container, and a rootless
engine's socket and files are its user's.  An answer counts only for the id that was
asked, and only when its first process, while it lives, is in the cgroup of that id.
"""
