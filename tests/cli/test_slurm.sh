# A job array over one input, by Slurm: each task answers its shard, one of them is killed and requeued, and the parts
# make up what one command would have written. Long, and only where this process is root and Slurm is installed: a cluster
# of one node is started for it, with its own keys, ports and folders, and ended with it.
. "$(dirname "$0")/lib.sh"
[ "$(id -u)" -eq 0 ] || skip "a Slurm of one's own wants root"
for program in munged slurmctld slurmd sbatch scontrol squeue; do
    PATH="$PATH:/usr/sbin" command -v $program >/dev/null || skip "no $program (Debian: slurmctld slurmd slurm-client munge; tools/setup extra)"
done
PATH="$PATH:/usr/sbin"
find_model

cluster=$home/cluster
mkdir -p "$cluster/state" "$cluster/spool" "$cluster/log" "$cluster/munge"
chmod 755 "$home" "$cluster"
chmod 700 "$cluster/munge"
started=
end_cluster() {
    for pid in $started; do kill "$pid" 2>/dev/null; done
    for pid in $started; do wait "$pid" 2>/dev/null; done
    rm -rf "$home"
}
trap end_cluster EXIT
# start WAIT-FOR COMMAND...: in the foreground of a job of ours, until WAIT-FOR succeeds
start() {
    until=$1
    shift
    "$@" >"$cluster/log/${1##*/}.out" 2>&1 &
    started="$! $started"
    tries=0
    until eval "$until" >/dev/null 2>&1; do
        tries=$((tries + 1))
        kill -0 "${started%% *}" 2>/dev/null && [ $tries -le 100 ] || skip "${1##*/} does not run here: $(tail -n 1 "$cluster/log/${1##*/}.out")"
        sleep 0.1
    done
}

dd if=/dev/urandom of="$cluster/munge/key" bs=128 count=1 2>/dev/null
chmod 400 "$cluster/munge/key"
start "[ -S $cluster/munge/socket ]" munged --foreground --force --key-file="$cluster/munge/key" --socket="$cluster/munge/socket" \
    --pid-file="$cluster/munge/pid" --log-file="$cluster/munge/log" --seed-file="$cluster/munge/seed" --num-threads=1

name=$(hostname -s)
port=$((20000 + $$ % 20000))
cat >"$cluster/slurm.conf" <<END
ClusterName=recipes
SlurmctldHost=$name(127.0.0.1)
SlurmctldPort=$port
SlurmdPort=$((port + 1))
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket=$cluster/munge/socket
CredType=cred/munge
StateSaveLocation=$cluster/state
SlurmdSpoolDir=$cluster/spool
SlurmctldPidFile=$cluster/slurmctld.pid
SlurmdPidFile=$cluster/slurmd.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
SelectType=select/cons_tres
MpiDefault=none
SwitchType=switch/none
ReturnToService=2
SchedulerParameters=sched_interval=1,bf_interval=1
JobRequeue=1
NodeName=$name NodeAddr=127.0.0.1 CPUs=$(nproc) State=UNKNOWN
PartitionName=all Nodes=$name Default=YES MaxTime=INFINITE State=UP OverSubscribe=FORCE:8
END
export SLURM_CONF="$cluster/slurm.conf"
start "scontrol ping | grep -q UP" slurmctld -D -f "$SLURM_CONF" -c
start "scontrol -o show node $name | grep -qE 'State=(IDLE|MIXED)'" slurmd -D -f "$SLURM_CONF"

i=0
while [ $i -lt 40 ]; do
    echo "{\"id\":\"r$i\",\"prompt\":\"Once upon a time number $i\"}"
    i=$((i + 1))
done >in.jsonl
run batch -m "$plain" in.jsonl -n 900 --ignore-eos --greedy --seed 1 -o whole.jsonl
exits 0

# what a user would write; --resume makes a task that begins again go on
cat >array.sh <<END
#!/bin/bash
#SBATCH --array=1-4
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output=$home/log.%a
exec "$NOCTULE" batch -m "$plain" "$home/in.jsonl" -n 900 --ignore-eos --greedy --seed 1 -t 1 -np 1 \\
    --shard "\$SLURM_ARRAY_TASK_ID/\$SLURM_ARRAY_TASK_COUNT" -o "$home/part.\$SLURM_ARRAY_TASK_ID.jsonl" --resume
END
last="sbatch array.sh"
sbatch --parsable array.sh >out 2>err
code=$?
exits 0
job=$(cat out)

# the scheduler takes a task's node away amid its work and gives it back: SIGTERM, and the task from its beginning
tries=0
until [ -s part.2.jsonl ] || [ $tries -gt 600 ]; do
    tries=$((tries + 1))
    sleep 0.05
done
before=$(wc -l <part.2.jsonl)
scontrol requeue "${job}_2" >out 2>err
requeued=$?
how=$(cat err)
tries=0
while [ -n "$(squeue -h -j "$job" 2>/dev/null)" ] && [ $tries -lt 7000 ]; do
    tries=$((tries + 1))
    sleep 0.1
done
last="job array $job ($before records, then requeued: $requeued $how): $(cat log.*)"
cat part.*.jsonl >out 2>err
for task in 1 2 3 4; do holds "a part of task $task" test "$(wc -l <part.$task.jsonl)" -eq 10; done
without_attempts part.1.jsonl part.2.jsonl part.3.jsonl part.4.jsonl | sort >a
without_attempts whole.jsonl | sort >b
same a b "the parts are not what one command writes"
if [ "$before" -lt 10 ]; then
    cat log.2 >err
    says "there before"
fi
finish
