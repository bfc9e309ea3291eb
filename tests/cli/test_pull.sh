# Fetching a published model, from a hub made of files.
. "$(dirname "$0")/lib.sh"
command -v curl >/dev/null || skip "no curl"
command -v sha256sum >/dev/null || skip "no sha256sum"
find_model

# publish REPOSITORY FILE...: puts files of $plain on the hub, with a list that tells of them
hub=$home/hub
publish() {
    repository=$1
    shift
    mkdir -p "$hub/api/models/$repository/tree" "$hub/$repository/resolve/main"
    list=
    for file in "$@"; do
        cp "$plain/$file" "$hub/$repository/resolve/main/$file"
        size=$(wc -c <"$plain/$file" | tr -d ' ')
        entry="{\"type\":\"file\",\"path\":\"$file\",\"size\":$size"
        case $file in
        *.safetensors) entry="$entry,\"lfs\":{\"oid\":\"$(sha256sum <"$plain/$file" | cut -c 1-64)\",\"size\":$size}" ;;
        esac
        list="$list,$entry}"
    done
    echo "[{\"type\":\"directory\",\"path\":\"sub\"}$list]" >"$hub/api/models/$repository/tree/main"
}
publish openbmb/MiniCPM4-0.5B config.json generation_config.json model.safetensors tokenizer.json tokenizer_config.json
manifest=$hub/api/models/openbmb/MiniCPM4-0.5B/tree/main
export NOCTULE_FROM="file://$hub"
models=$XDG_DATA_HOME/noctule/models

# a file:// hub has no place for both a folder and a page of the same name: curl lists nothing, which is no licence
run pull --yes MiniCPM4-0.5B
if [ "$code" -eq 0 ]; then fail "a hub without the model's page is no hub"; fi
checks=$((checks + 1))

# ---- an HTTP server, where there is python
python=$(command -v python3) || skip "no python3 to be the hub"
cat >serve.py <<'PY'
import http.server, os, sys, re
class Hub(http.server.BaseHTTPRequestHandler):
    def log_message(self, *a): pass
    def do_GET(self):
        path = self.path.split('?')[0]
        if re.fullmatch(r'/api/models/[^/]+/[^/]+', path):
            body = b'{"cardData": {"license": "apache-2.0"}}'
        else:
            try:
                body = open(sys.argv[1] + path, 'rb').read()
            except OSError:
                self.send_error(404)
                return
        start = 0
        ranged = re.fullmatch(r'bytes=(\d+)-', self.headers.get('Range', ''))
        if ranged:
            start = int(ranged.group(1))
        open(sys.argv[2], 'a').write('%s from %d\n' % (path, start))
        if start >= len(body) and start:
            self.send_error(416)
            return
        self.send_response(206 if start else 200)
        if start:
            self.send_header('Content-Range', 'bytes %d-%d/%d' % (start, len(body) - 1, len(body)))
        self.send_header('Content-Length', str(len(body) - start))
        self.end_headers()
        self.wfile.write(body[start:])
server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), Hub)
open(sys.argv[3], 'w').write(str(server.server_address[1]) + '\n')
server.serve_forever()
PY
"$python" serve.py "$hub" asked port </dev/null >/dev/null 2>&1 &
server=$!
trap 'kill $server 2>/dev/null; rm -rf "$home"' EXIT
tries=0
until [ -s port ]; do
    tries=$((tries + 1))
    [ "$tries" -lt 200 ] || skip "the hub does not come up"
    sleep 0.1
done
export NOCTULE_FROM="http://127.0.0.1:$(cat port)"
run pull --yes MiniCPM4-0.5B
if [ "$code" -eq 1 ] && grep -q "curl: 1)" err; then
    fail "curl refuses plain http to this machine"
fi
exits 0; silent; prints "$models/MiniCPM4-0.5B"
same "$models/MiniCPM4-0.5B/model.safetensors" "$plain/model.safetensors" "the weights have come"
run run -m MiniCPM4-0.5B -n 4 "Once upon a time" </dev/null
exits 0
run pull --yes MiniCPM4-0.5B
exits 2; says "there already"

# ---- what was interrupted goes on
rm -r "$models/MiniCPM4-0.5B"
part=$models/.MiniCPM4-0.5B.part
mkdir -p "$part"
head -c 100000 "$plain/model.safetensors" >"$part/model.safetensors"
: >asked
run pull --yes MiniCPM4-0.5B
exits 0; holds "the weights go on at byte 100000" grep -q "model.safetensors from 100000" asked
same "$models/MiniCPM4-0.5B/model.safetensors" "$plain/model.safetensors" "and are whole"
rm -r "$models/MiniCPM4-0.5B"

# ---- what differs from the list is not believed, nor kept
mkdir -p "$part"
head -c 100000 /dev/zero >"$part/model.safetensors"
run pull --yes MiniCPM4-0.5B
exits 3; says "not the bytes"; prints_nothing
holds "it was removed" test ! -e "$part/model.safetensors"
holds "no model is there" test ! -e "$models/MiniCPM4-0.5B"
cp "$manifest" kept
for list in '{}' '[]' 'x' '[{"type":"file","path":"../../x.json","size":3}]' '[{"type":"file","path":"a.json","size":-1}]' \
    '[{"type":"file","path":"a.safetensors","size":3,"lfs":{"oid":"xyz","size":3}}]' '[{"type":"file","path":"nosuch.json","size":3}]'; do
    echo "$list" >"$manifest"
    run pull --yes MiniCPM4-0.5B
    exits 1; prints_nothing
done
sed 's/"size":[0-9]*/"size":9999999999999/g' kept >"$manifest"
run pull --yes MiniCPM4-0.5B
exits 1; says "are free where"
cp kept "$manifest"

# ---- commands for another machine; nobody to be asked; names
rm -rf "$part"
run pull --print MiniCPM4-0.5B
exits 0; prints "curl -fL -C - -o model.safetensors '$NOCTULE_FROM/openbmb/MiniCPM4-0.5B/resolve/main/model.safetensors'"
prints "sha256sum -c"
cp out commands
sed -i "s#'$models/MiniCPM4-0.5B'#'$home/elsewhere'#g" commands
holds "the commands work" sh commands
same "$home/elsewhere/model.safetensors" "$plain/model.safetensors" "and fetch the weights"
run pull MiniCPM4-0.5B </dev/null
exits 2; says "pull --yes"
run pull
exits 2; says "MiniCPM4.1-8B-GPTQ"
run pull MiniCPM4-05B
exits 3; says "try: noctule pull MiniCPM4-0.5B"
run pull --from "-o x" MiniCPM4-8B
exits 2
NOCTULE_FROM=http://127.0.0.1:1 run pull --yes MiniCPM4-8B
exits 1; says "cannot be fetched"; says "--from"
holds "nothing is left in the models folder" sh -c "! ls -A '$models' | grep -q ."

finish
