# GNU parallel over hosts: two hosts on one machine, network namespaces with an sshd each, share out the records of a batch.
# Only where this process is root and may make namespaces; the recipe without hosts is in test_recipes.sh.
. "$(dirname "$0")/lib.sh"
[ "$(id -u)" -eq 0 ] || skip "network namespaces want root"
PATH="$PATH:/usr/sbin:/sbin"
for program in sshd ssh ssh-keygen ip parallel; do
    command -v $program >/dev/null || skip "no $program (Debian: openssh-server openssh-client iproute2 parallel; tools/setup extra)"
done
find_model
mkdir -p .parallel
touch .parallel/will-cite

prefix=nct$$
started=
end_hosts() {
    for pid in $started; do kill "$pid" 2>/dev/null; done
    for i in 1 2; do ip netns del $prefix.$i 2>/dev/null; done
    rm -rf "$home"
}
trap end_hosts EXIT
chmod 755 "$home"
ssh-keygen -q -t ed25519 -N '' -f key
ssh-keygen -q -t ed25519 -N '' -f hostkey
[ -d /run/sshd ] || mkdir -p /run/sshd 2>/dev/null
for i in 1 2; do
    ip netns add $prefix.$i 2>err || skip "no network namespaces here: $(head -n 1 err)"
    # 198.18.0.0/15 is for tests of networks
    ip link add ${prefix}v$i type veth peer name eth0 netns $prefix.$i 2>err &&
        ip addr add 198.18.$i.1/24 dev ${prefix}v$i && ip link set ${prefix}v$i up &&
        ip -n $prefix.$i addr add 198.18.$i.2/24 dev eth0 && ip -n $prefix.$i link set eth0 up && ip -n $prefix.$i link set lo up ||
        skip "no links between namespaces here: $(head -n 1 err)"
    cat >sshd.$i <<END
Port 22
ListenAddress 198.18.$i.2
HostKey $home/hostkey
AuthorizedKeysFile $home/key.pub
StrictModes no
UsePAM no
PasswordAuthentication no
PermitRootLogin prohibit-password
PidFile none
END
    ip netns exec $prefix.$i "$(command -v sshd)" -D -e -f "$home/sshd.$i" >sshd.$i.log 2>&1 &
    started="$started $!"
done
cat >ssh_config <<END
User root
IdentityFile $home/key
IdentitiesOnly yes
StrictHostKeyChecking no
UserKnownHostsFile /dev/null
LogLevel ERROR
BatchMode yes
END
for i in 1 2; do
    tries=0
    until ssh -F ssh_config 198.18.$i.2 true 2>err; do
        tries=$((tries + 1))
        [ $tries -le 50 ] || skip "no login to a namespace of one's own: $(tail -n 1 err) $(tail -n 1 sshd.$i.log)"
        sleep 0.1
    done
done

i=0
while [ $i -lt 30 ]; do
    echo "{\"id\":\"r$i\",\"prompt\":\"Once upon a time number $i\"}"
    i=$((i + 1))
done >in.jsonl
batch="batch -q -m $plain -n 20 --ignore-eos --greedy --seed 1 -t 1"
run $batch in.jsonl -o whole.jsonl
exits 0
without_order whole.jsonl >expected
hosts="-S 1/198.18.1.2,1/198.18.2.2 --ssh"

# the records travel through pipes, a block to whichever host is free; the host is told beside, to see that both worked
last="parallel --pipe over two hosts"
parallel --pipe -N 5 $hosts "ssh -F $home/ssh_config" --joblog jobs "$NOCTULE $batch" <in.jsonl >out 2>err
code=$?
exits 0; silent
without_order out >got
same got expected "two hosts give something else than one"
holds "both hosts worked" test "$(awk 'NR > 1 { print $2 }' jobs | sort -u | wc -l)" -eq 2

# files there and back: parts are copied, answered, and the results fetched
command -v rsync >/dev/null || { echo "left out: no rsync"; finish; }
last="parallel --transferfile --return over two hosts"
split -l 10 --additional-suffix=.jsonl in.jsonl part.
ls part.*.jsonl | parallel $hosts "ssh -F $home/ssh_config" --transferfile {} --return {.}.out --cleanup "$NOCTULE $batch {} -o {.}.out" >out 2>err
code=$?
exits 0
cat part.*.out 2>/dev/null | without_order >got
same got expected "parts that went to two hosts"
finish
