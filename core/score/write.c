/* write.c - scores as JSON lines: keys are made once, numbers are the shortest that read back
 * the same, and a small whole number is written without asking for that.
 */
#include "score/write.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static const char *const status_word[] = {"valid", "not_applicable", "failed", "timed_out"};

const char *
mete__status_name(uint8_t status)
{
    return status_word[status < 4 ? status : METE_FAILED];
}

static bool
is_below(const mete_node *node, const mete_node *root)
{
    for (size_t depth = 0; node && depth < 256; node = node->parent, depth++)
        if (node == root)
            return true;
    return false;
}

/* A node's name where it is the only one of that name, else its path. */
static const char *
handle(mete__engine *engine, const mete_node *node)
{
    size_t count, same = 0;
    mete_node *const *all = mete__engine_nodes(engine, &count);
    for (size_t i = 0; i < count; i++)
        same += all[i]->kind == METE_KIND_REWARD && strcmp(all[i]->name, node->name) == 0;
    return same == 1 ? node->name : node->path;
}

bool
mete__score_open(mete__report_sum *sum, mete__engine *engine, bool full)
{
    size_t count;
    mete_node *const *node = mete__engine_nodes(engine, &count);
    const mete_node *root = mete__engine_reward(engine);
    sum->full = full;
    mete__engine_grades(engine, full);
    sum->shown = calloc(count + 1, sizeof *sum->shown);
    if (!sum->shown)
        return false;
    sum->shown[sum->showns++].node = root;
    for (size_t i = 0; i < count; i++)
        if (node[i] != root && node[i]->plugin && node[i]->kind == METE_KIND_REWARD &&
            is_below(node[i], root))
            sum->shown[sum->showns++].node = node[i];
    for (size_t i = 0; i < sum->showns; i++) {
        mete_buffer key = {0};
        sum->shown[i].name = handle(engine, sum->shown[i].node);
        mete_json_put_text(&key, mete_text_from(sum->shown[i].name));
        mete_buffer_byte(&key, ':');
        if (key.status)
            return false;
        sum->shown[i].key = key.data;
        sum->shown[i].key_length = key.length;
    }
    return true;
}

void
mete__score_close(mete__report_sum *sum)
{
    for (size_t i = 0; i < sum->showns; i++)
        free(sum->shown[i].key);
    free(sum->shown);
    free(sum->row);
}

void
mete__score_begin(mete__report_sum *sum, const mete__rows *rows, size_t slots)
{
    size_t n = 0;
    if (slots > sum->room) {
        free(sum->row);
        sum->row = calloc(slots, sizeof *sum->row);
        sum->room = sum->row ? slots : 0;
    }
    sum->slots = sum->row ? slots : 0;
    for (size_t i = 0; i < sum->slots; i++)
        sum->row[i] = rows->bad[i] ? UINT32_MAX : (uint32_t)n++;
    sum->records += slots;
    sum->unread += slots - n;
    for (size_t k = 0; k < sum->showns; k++) {
        mete__shown *shown = &sum->shown[k];
        const mete_scores *scores = n ? mete__node_scores(shown->node) : NULL;
        shown->scores = scores;
        for (size_t i = 0; scores && i < n; i++) {
            uint8_t status = scores->status[i];
            shown->count[status < 4 ? status : METE_FAILED]++;
            if (status == METE_VALID)
                shown->sum += scores->episode[i];
        }
    }
}

/* ---- lines ----------------------------------------------------------------------------------- */

static char *
put_bytes(char *at, const char *data, size_t length)
{
    memcpy(at, data, length);
    return at + length;
}

#define PUT(at, literal) put_bytes(at, literal, sizeof(literal) - 1)

static char *
put_whole(char *at, uint64_t number)
{
    char digits[24];
    size_t n = 0;
    do
        digits[n++] = (char)('0' + number % 10);
    while (number /= 10);
    while (n)
        *at++ = digits[--n];
    return at;
}

static char *
put_double(char *at, double number)
{
    if (!isfinite(number))
        return PUT(at, "null");
    if (number >= 0 && number < 1e6 && number == (double)(uint32_t)number && !signbit(number))
        return put_whole(at, (uint32_t)number);
    return at + mete__number_write(at, number);
}

int
mete__put_score(mete_buffer *out, double number)
{
    if (mete_buffer_reserve(out, 40))
        return out->status;
    char *begin = out->data + out->length, *end = put_double(begin, number);
    bool whole = isfinite(number);
    for (const char *at = begin; at < end && whole; at++)
        whole = *at != '.' && *at != 'e';
    if (whole)
        end = PUT(end, ".0");
    out->length = (size_t)(end - out->data);
    return METE_OK;
}

static void
put_reason(mete_buffer *out, const char *status, const char *reason)
{
    mete_buffer_string(out, ",\"status\":\"");
    mete_buffer_string(out, status);
    mete_buffer_byte(out, '"');
    if (reason && *reason) {
        mete_buffer_string(out, ",\"reason\":");
        mete_json_put_text(out, mete_text_from(reason));
    }
}

/* What the tokens of the row were given, [begin,end,value] each, where it is not 0; bytes of the
 * response. */
static void
put_spans(const mete_batch *batch, const double *step, size_t row, mete_buffer *out)
{
    bool any = false;
    mete_buffer_string(out, ",\"spans\":[");
    for (size_t t = batch->step_begin[row]; t < batch->step_begin[row + 1]; t++) {
        if (step[t] == 0)
            continue;
        mete_buffer_format(out, "%s[%u,%u,", any ? "," : "", batch->span[2 * t],
                           batch->span[2 * t + 1]);
        mete_json_put_number(out, step[t]);
        mete_buffer_byte(out, ']');
        any = true;
    }
    mete_buffer_byte(out, ']');
}

/* {"value":..,"status":..,"spread":..,"spans":[..],"signals":{..},"criteria":[..]} */
static void
put_full(const mete__shown *shown, const mete_batch *batch, size_t row, mete_buffer *out)
{
    const mete_scores *scores = shown->scores;
    const mete_node *node = shown->node;
    bool any = false;
    mete_buffer_string(out, "{\"value\":");
    mete_json_put_number(out, scores->status[row] == METE_VALID ? scores->episode[row] : NAN);
    put_reason(out, mete__status_name(scores->status[row]),
               scores->status[row] == METE_VALID ? NULL : mete__node_reason(node, row));
    if (scores->spread) {
        mete_buffer_string(out, ",\"spread\":");
        mete_json_put_number(out, scores->spread[row]);
    }
    if (scores->step && batch->span && scores->status[row] == METE_VALID)
        put_spans(batch, scores->step, row, out);
    for (size_t d = 0; d < node->declareds; d++) {
        const double *signal =
            node->declared[d].level == METE_EPISODE ? mete__node_signal(node, d) : NULL;
        if (!signal)
            continue;
        mete_buffer_string(out, any ? "," : ",\"signals\":{");
        any = true;
        mete_json_put_text(out, mete_text_from(node->declared[d].name));
        mete_buffer_byte(out, ':');
        mete_json_put_number(out, signal[row]);
    }
    mete_buffer_string(out, any ? "}" : "");
    const mete__graded *graded = mete__node_graded(node, row);
    if (graded) {
        mete_buffer_string(out, ",\"criteria\":");
        mete__put_graded(out, graded);
    }
    mete_buffer_byte(out, '}');
}

static void
put_nodes(const mete__report_sum *sum, const mete_batch *batch, size_t row, mete_buffer *out)
{
    size_t first = sum->full ? 0 : 1;
    if (sum->showns <= first)
        return;
    mete_buffer_string(out, ",\"nodes\":{");
    for (size_t k = first; k < sum->showns; k++) {
        const mete__shown *shown = &sum->shown[k];
        if (mete_buffer_reserve(out, shown->key_length + 64))
            return;
        char *at = out->data + out->length;
        if (k > first)
            *at++ = ',';
        at = put_bytes(at, shown->key, shown->key_length);
        bool valid = shown->scores && shown->scores->status[row] == METE_VALID;
        if (!sum->full || !shown->scores)
            at = valid ? put_double(at, shown->scores->episode[row]) : PUT(at, "null");
        out->length = (size_t)(at - out->data);
        if (sum->full && shown->scores)
            put_full(shown, batch, row, out);
    }
    mete_buffer_byte(out, '}');
}

static void
put_line(const mete__report_sum *sum, const mete__rows *rows, size_t slot, uint64_t number,
         mete_buffer *out)
{
    uint32_t row = sum->row[slot];
    mete_text id = rows->id_json[slot];
    if (mete_buffer_reserve(out, id.length + 128))
        return;
    char *at = out->data + out->length;
    if (id.length) {
        at = PUT(at, "{\"id\":");
        at = put_bytes(at, id.data, id.length);
    } else {
        at = PUT(at, "{\"row\":");
        at = put_whole(at, number);
    }
    at = PUT(at, ",\"reward\":");
    const mete_scores *root = sum->shown[0].scores;
    bool valid = row != UINT32_MAX && root->status[row] == METE_VALID;
    at = valid ? put_double(at, root->episode[row]) : PUT(at, "null");
    out->length = (size_t)(at - out->data);
    if (row == UINT32_MAX)
        put_reason(out, "failed", rows->bad[slot]);
    else if (!valid)
        put_reason(out, mete__status_name(root->status[row]),
                   mete__node_reason(sum->shown[0].node, row));
    if (row != UINT32_MAX)
        put_nodes(sum, &rows->batch, row, out);
    mete_buffer_append(out, "}\n", 2);
}

void
mete__score_write(const mete__report_sum *sum, const mete__rows *rows, size_t from, size_t to,
                  mete_buffer *out)
{
    for (size_t slot = from; slot < to; slot++)
        put_line(sum, rows, slot, rows->number + slot - rows->call[slot], out);
}

/* ---- the summary ----------------------------------------------------------------------------- */

static double
mean(const mete__shown *shown)
{
    return shown->count[METE_VALID] ? shown->sum / (double)shown->count[METE_VALID] : NAN;
}

static void
summary_json(const mete__report_sum *sum, double seconds, mete_buffer *out)
{
    mete_buffer_format(out,
                       "{\"records\":%" PRIu64 ",\"unread\":%" PRIu64 ",\"seconds\":", sum->records,
                       sum->unread);
    mete_json_put_number(out, seconds);
    mete_buffer_string(out, ",\"nodes\":{");
    for (size_t k = 0; k < sum->showns; k++) {
        const mete__shown *shown = &sum->shown[k];
        if (k)
            mete_buffer_byte(out, ',');
        mete_buffer_append(out, shown->key, shown->key_length);
        mete_buffer_string(out, "{\"mean\":");
        mete_json_put_number(out, mean(shown));
        for (int status = 0; status < 4; status++)
            mete_buffer_format(out, ",\"%s\":%" PRIu64, status_word[status], shown->count[status]);
        mete_buffer_byte(out, '}');
    }
    mete_buffer_string(out, "}}\n");
}

void
mete__score_summary(const mete__report_sum *sum, bool json, double seconds, FILE *to)
{
    mete_buffer out = {0};
    if (json) {
        summary_json(sum, seconds, &out);
    } else {
        mete_buffer_format(&out, "%" PRIu64 " records in %.3g s (%.3g/s), %" PRIu64 " unread\n",
                           sum->records, seconds, seconds > 0 ? (double)sum->records / seconds : 0,
                           sum->unread);
        for (size_t k = 0; k < sum->showns; k++) {
            const mete__shown *shown = &sum->shown[k];
            char number[32] = "-";
            if (shown->count[METE_VALID])
                snprintf(number, sizeof number, "%.6g", mean(shown));
            mete_buffer_format(&out, "  %-32s mean %-12s valid %" PRIu64, shown->node->path, number,
                               shown->count[METE_VALID]);
            for (int status = 1; status < 4; status++)
                if (shown->count[status])
                    mete_buffer_format(&out, ", %s %" PRIu64, status_word[status],
                                       shown->count[status]);
            mete_buffer_byte(&out, '\n');
        }
    }
    if (!out.status)
        fwrite(out.data, 1, out.length, to);
    mete_buffer_free(&out);
}
