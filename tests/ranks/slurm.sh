#!/usr/bin/env bash
# slurm.sh - ranks started by srun, and by mpirun inside a job, of a Slurm of our own
#
# Two virtual nodes on this machine, without systemd, cgroups or a database. Skipped with
# the reason where Slurm and munge are not installed (slurm-wlm, munge) or do not start.
. "$(dirname "$0")/program.sh"
PATH=$PATH:/usr/sbin

give_up()
{
    echo "skipped: $1"
    exit 77
}

for tool in slurmctld slurmd srun munged; do
    command -v $tool >/dev/null || give_up "no $tool here"
done

slurm=$root/slurm
port=$((20000 + $$ % 20000))
mkdir -p "$slurm"/{state,run,log,spool/n1,spool/n2,tmp/n1,tmp/n2}
chmod 755 "$root" "$slurm"
export SLURM_CONF=$slurm/slurm.conf

slurm_down()
{
    scancel -u "$(id -un)" 2>/dev/null
    cat "$slurm"/run/*.pid 2>/dev/null | while read -r p; do
        kill "$p"
    done 2>/dev/null
    for ((i = 0; i < 50; i++)); do
        pgrep -f "$slurm/" >/dev/null || pgrep -x slurmstepd >/dev/null || break
        sleep 0.1
    done
    chmod -R u+rwx "$root"
    rm -rf "$root"
}
trap slurm_down EXIT

head -c 128 /dev/urandom >"$slurm/munge.key"
chmod 400 "$slurm/munge.key"
munged --key-file="$slurm/munge.key" --socket="$slurm/munge.sock" \
    --pid-file="$slurm/run/munged.pid" --log-file="$slurm/log/munged.log" \
    --seed-file="$slurm/run/munged.seed" --num-threads=2 --force 2>"$root/err" ||
    give_up "munged does not start: $(head -1 "$root/err")"
echo "CgroupPlugin=cgroup/v1" >"$slurm/cgroup.conf"
cat >"$slurm/slurm.conf" <<CONF
ClusterName=onebox
SlurmctldHost=localhost(127.0.0.1)
SlurmctldPort=$port
SlurmUser=$(id -un)
SlurmdUser=$(id -un)
AuthType=auth/munge
AuthInfo=socket=$slurm/munge.sock,cred_expire=5
MpiDefault=none
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerParameters=sched_interval=1,bf_interval=1,batch_sched_delay=0
ReturnToService=2
KillWait=5
MessageTimeout=10
SlurmdParameters=config_overrides
TmpFS=$slurm/tmp/%n
StateSaveLocation=$slurm/state
SlurmdSpoolDir=$slurm/spool/%n
SlurmctldPidFile=$slurm/run/slurmctld.pid
SlurmdPidFile=$slurm/run/slurmd.%n.pid
SlurmctldLogFile=$slurm/log/slurmctld.log
SlurmdLogFile=$slurm/log/slurmd.%n.log
NodeName=n[1-2] NodeHostname=localhost NodeAddr=127.0.0.1 Port=[$((port + 1))-$((port + 2))] CPUs=4 Sockets=1 CoresPerSocket=4 ThreadsPerCore=1 RealMemory=1000
PartitionName=main Nodes=n[1-2] Default=YES MaxTime=60 State=UP
CONF
slurmctld && slurmd -N n1 && slurmd -N n2 || give_up "slurm does not start"
for ((i = 0; i < 100; i++)); do
    [ "$(sinfo -h -o %T -p main 2>/dev/null)" = idle ] && break
    sleep 0.1
done
[ "$(sinfo -h -o %T -p main 2>/dev/null)" = idle ] || give_up "slurm's nodes do not come up"

# Both nodes share one /dev/shm and one name: no shared memory between their ranks.
export OMPI_MCA_btl=self,tcp OMPI_MCA_btl_tcp_if_include=lo OMPI_MCA_oob_tcp_if_include=lo
JOB=(--model wan --prompt cat --size 144x112 --num_frames 17 --steps 3 --threads 1)

# slurmed COMMAND...: run it; $code, ../out, ../err
slurmed()
{
    "$@" >"$root/out" 2>"$root/err" </dev/null
    code=$?
}

makes generate "${JOB[@]}" --output one.y4m --save_latents one.h5
slurmed srun --mpi=pmix -N 2 --ntasks-per-node=2 "$FF" generate "${JOB[@]}" \
    --output srun.y4m --save_latents srun.h5
is "srun --mpi=pmix: exit code" "$code" 0
same "srun --mpi=pmix: video" one.y4m srun.y4m
same "srun --mpi=pmix: latents" one.h5 srun.h5

slurmed srun --mpi=pmix -n 3 "$FF" generate "${JOB[@]}" --model nowhere
once "srun, bad model" 3 "cannot open 'nowhere'"

slurmed srun --mpi=none -n 3 "$FF" generate "${JOB[@]}" --output none.y4m
once "srun without PMIx" 2 "started by srun without PMIx: add --mpi=pmix"

slurmed salloc -N 2 --ntasks-per-node=1 mpirun -q \
    $([ "$(id -u)" -ne 0 ] || echo --allow-run-as-root) "$FF" generate "${JOB[@]}" \
    --output mpirun.y4m
is "mpirun inside a job: exit code" "$code" 0
same "mpirun inside a job: video" one.y4m mpirun.y4m
done_testing
