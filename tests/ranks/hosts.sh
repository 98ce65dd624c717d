#!/usr/bin/env bash
# hosts.sh - ranks on two hosts, made of namespaces of this machine
#
# Each host has its own network, name and shared memory; mpirun reaches them through an
# agent that enters the namespaces. Also a machine whose /dev/shm is too small for the
# weights. Needs root; skipped with the reason where namespaces cannot be made.
. "$(dirname "$0")/program.sh"

give_up()
{
    echo "skipped: $1"
    exit 77
}

[ "$(id -u)" -eq 0 ] || give_up "only root may make hosts of namespaces"
for tool in ip unshare nsenter mount; do
    command -v "$tool" >/dev/null || give_up "no $tool here"
done
unshare --net --uts --mount --ipc true 2>/dev/null || give_up "no namespaces here"

tag=ff$$
net=10.$((64 + $$ % 64)).$(($$ / 64 % 256))

hosts_down()
{
    local i p

    for i in 1 2; do
        [ ! -s "$root/h$i.pid" ] || kill "$(cat "$root/h$i.pid")"
        for p in $(ip netns pids "$tag-$i" 2>/dev/null); do
            kill -s KILL "$p"
        done
        ip netns del "$tag-$i"
        ip link del "$tag-$i"
    done 2>/dev/null
    ip link del "$tag" 2>/dev/null
    rm -rf "$root"
}
trap hosts_down EXIT

host_up()
{
    local i=$1

    ip netns add "$tag-$i" &&
        ip link add "$tag-$i" type veth peer name eth0 netns "$tag-$i" &&
        ip link set "$tag-$i" master "$tag" up &&
        ip -n "$tag-$i" addr add "$net.1$i/24" dev eth0 &&
        ip -n "$tag-$i" link set eth0 up && ip -n "$tag-$i" link set lo up || return 1
    setsid ip netns exec "$tag-$i" unshare --uts --mount --ipc --propagation private \
        sh -c "hostname h$i; mount -t tmpfs -o size=256m tmpfs /dev/shm
            echo \$\$ >$root/h$i.pid; exec sleep infinity" </dev/null >/dev/null 2>&1 &
    for ((n = 0; n < 600; n++)); do
        [ "$("$root/agent" "h$i" hostname 2>/dev/null)" = "h$i" ] && return
        sleep 0.1
    done
    return 1
}

cat >"$root/agent" <<X
#!/bin/sh
h=\$1
shift
exec nsenter -t \$(cat "$root/\$h.pid") -n -u -m -i sh -c "cd $root/work; \$*"
X
chmod +x "$root/agent"
printf 'h1 slots=2\nh2 slots=2\n' >"$root/hostfile"
ip link add "$tag" type bridge 2>/dev/null && ip addr add "$net.1/24" dev "$tag" &&
    ip link set "$tag" up && host_up 1 && host_up 2 || give_up "no virtual hosts here"

HOSTS=("${MPIRUN[@]}" --hostfile "$root/hostfile" --mca plm_rsh_agent "$root/agent"
    --mca btl_tcp_if_include "$net.0/24" --mca oob_tcp_if_include "$net.0/24"
    --mca oob_tcp_keepalive_time 5 --mca oob_tcp_keepalive_intvl 2
    --mca oob_tcp_keepalive_probes 3)
JOB=(--model wan --prompt cat --size 144x112 --num_frames 17 --steps 3 --threads 1)

makes generate "${JOB[@]}" --output one.y4m --save_latents one.h5
MPIRUN_ALONE=("${MPIRUN[@]}")
MPIRUN=("${HOSTS[@]}")
makes_on 4 generate "${JOB[@]}" --output two.y4m --save_latents two.h5
same "two hosts: video" one.y4m two.y4m
same "two hosts: latents" one.h5 two.h5
makes_on 3 generate "${JOB[@]}" --mesh g1u3 --output three.y4m
same "three ranks on two hosts: video" one.y4m three.y4m
makes_on 4 generate "${JOB[@]}" --read_weights once --output once.y4m
same "files read by one host each: video" one.y4m once.y4m
ranks 4 generate "${JOB[@]}" --model nowhere --output four.y4m
once "bad model on two hosts" 3 "cannot open 'nowhere'"

: >"$root/err"
"${HOSTS[@]}" -n 4 "$FF" generate "${JOB[@]}" --steps 1000 --output long.y4m \
    >"$root/out" 2>"$root/err" </dev/null &
job=$!
said "^denoise 3/"
start=$(now)
kill -s KILL "$(ip netns pids "$tag-2" | while read -r p; do
    [ "$(cat /proc/$p/comm)" = framefleet ] && echo "$p"
done | head -1)"
wait "$job"
is "dead rank on the other host: exit code" "$?" 137
no_hang "dead rank on the other host" "$(since "$start")"
gone_wait=1500
while [ -n "$(ours)" ] && [ $((gone_wait -= 1)) -gt 0 ]; do
    sleep 0.1
done
is "dead rank on the other host: processes left" "$(ours)" ""

# 16 MiB of shared memory: enough for MPI, not for the weights and room to spare.
MPIRUN=("${MPIRUN_ALONE[@]}")
small()
{
    unshare --mount --propagation private sh -c \
        'mount -t tmpfs -o size=16m tmpfs /dev/shm; exec "$@"' small "$@"
}
export TMPDIR=$root/tmp
mkdir "$TMPDIR"
small "${MPIRUN[@]}" -n 2 "$FF" generate "${JOB[@]}" --output small.y4m \
    >"$root/out" 2>"$root/err" </dev/null
is "small /dev/shm: exit code" "$?" 0
same "small /dev/shm: video" one.y4m small.y4m
is "small /dev/shm: files left" "$(ls "$TMPDIR"/framefleet-?????? 2>/dev/null)" ""
done_testing
