#include "cli/events.h"

#include "base/clock.h"
#include "base/json.h"

#define EVERY_NS 250000000u /* of progress */

static bool put(nct_events *e, nct_bytes *line) {
    bool written = line->data && nct_output_write(e->output, line->data, line->n) && nct_output_flush(e->output);
    nct_bytes_reset(line);
    return written;
}

bool nct_events_piece(void *events, bool thinking, const char *text, size_t n) {
    nct_bytes line = {0};
    nct_bytes_printf(&line, NULL, "{\"event\":\"%s\",\"text\":", thinking ? "thinking" : "delta");
    nct_json_write_string(&line, text, n, NULL);
    nct_bytes_add_str(&line, "}\n", NULL);
    return put(events, &line);
}

void nct_events_progress(void *events, int done, int total) {
    nct_events *e = events;
    uint64_t now = nct_clock_ns();
    nct_bytes line = {0};
    if (done < total && e->shown_ns && now - e->shown_ns < EVERY_NS)
        return;
    e->shown_ns = now;
    nct_bytes_printf(&line, NULL, "{\"event\":\"prefill\",\"done\":%d,\"total\":%d}\n", done, total);
    put(e, &line);
}

void nct_events_object(nct_events *e, const char *name, const char *json, size_t n) {
    nct_bytes line = {0};
    nct_bytes_printf(&line, NULL, "{\"event\":\"%s\",", name);
    nct_bytes_add(&line, json + 1, n - 1, NULL);
    put(e, &line);
}

void nct_events_error(nct_events *e, int code, const char *message) {
    nct_bytes line = {0};
    nct_bytes_printf(&line, NULL, "{\"event\":\"error\",\"exit\":%d,\"message\":", code);
    nct_json_write_string(&line, message, strlen(message), NULL);
    nct_bytes_add_str(&line, "}\n", NULL);
    put(e, &line);
}
