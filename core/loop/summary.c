/* summary.c - what a run changed, for people and for programs; and samples as it goes. */
#include "loop/inner.h"

#include <math.h>
#include <stdarg.h>
#include <mete/text.h>
#include <stdlib.h>
#include <string.h>

enum { STEPS_KEPT = 600 }; /* of a sample, at most */

/* Text a model wrote, on a terminal: control bytes become '?', long texts are cut. */
static void
put_plain(mete_buffer *out, const char *text)
{
    size_t length = strlen(text), most = length;
    if (length > 300)
        most = mete_utf8_floor((mete_text){text, length}, 300);
    for (size_t i = 0; i < most; i++) {
        unsigned char c = (unsigned char)text[i];
        /* U+0080 to U+009F are control characters too; in UTF-8 they begin with 0xc2 */
        bool control = c < 32 || c == 127 || (c == 0xc2 && (unsigned char)text[i + 1] < 0xa0);
        mete_buffer_byte(out, control ? (c == '\n' ? ' ' : '?') : (char)c);
        i += c == 0xc2 && control;
    }
    if (most < length)
        mete_buffer_string(out, "...");
}

static void
put_line(mete_buffer *out, const char *format, ...)
{
    char line[400];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(line, sizeof line, format, arguments);
    va_end(arguments);
    mete_buffer_string(out, line);
}

static void
put_shown(mete_buffer *out, const char *when, const mete__shown *shown)
{
    if (isnan(shown->reward))
        put_line(out, "\n%-7s unscored  ", when);
    else
        put_line(out, "\n%-7s %8.3f  ", when, shown->reward);
    put_plain(out, shown->response);
}

/* A line a held-out metric: before, after, and what texts of the column `given` get (or NULL). */
static void
put_table(mete_buffer *out, const mete__judged *before, const mete__judged *after,
          const char *given)
{
    char name[700];
    if (!after->metrics.count)
        return;
    put_line(out, "\nheld-out episodes%38s %12s", before->metrics.count ? "before" : "", "after");
    if (given)
        put_line(out, " %12.40s", given);
    mete_buffer_string(out, "\n");
    for (size_t i = 0; i < after->metrics.count; i++) {
        const char *full = after->metrics.item[i].name, *rest = strchr(full, '/');
        size_t length = strlen(full);
        if (strncmp(full, "eval/", 5) != 0 || (length > 3 && strcmp(full + length - 3, "/sd") == 0))
            continue;
        snprintf(name, sizeof name, "given%s", rest);
        const double value[] = {mete__metrics_get(&before->metrics, full),
                                mete__metrics_get(&after->metrics, full),
                                mete__metrics_get(&after->metrics, name)};
        put_line(out, "  %-40s", rest + 1);
        for (int k = 0; k < 2 + !isnan(value[2]); k++)
            if (isnan(value[k]))
                put_line(out, " %12s", "");
            else
                put_line(out, " %12.4g", value[k]);
        mete_buffer_string(out, "\n");
    }
}

/* What the last fit measured at the end. */
static void
put_fit(mete_buffer *out, const mete__loop *loop)
{
    const struct mete__fit *fit = loop->stages ? loop->stage[loop->stages - 1].fit : NULL;
    const char *path = fit ? mete__fit_node(fit)->path : "";
    size_t length = strlen(path);
    for (size_t i = 0; fit && i < loop->metrics.count; i++)
        if (strncmp(loop->metrics.item[i].name, path, length) == 0)
            put_line(out, "  %-40s %12.4g\n", loop->metrics.item[i].name,
                     loop->metrics.item[i].sum / (double)loop->metrics.item[i].count);
}

char *
mete__loop_summary(const mete__loop *loop)
{
    mete_buffer out = mete_buffer_make((size_t)4 << 20);
    const mete__judged *before = &loop->before, *after = &loop->after;
    put_line(&out, "%llu iterations; %zu parameters\n", (unsigned long long)loop->done,
             loop->parameters);
    put_table(&out, before, after, loop->evaluate_responses);
    put_fit(&out, loop);
    if (!after->metrics.count && loop->policy)
        for (size_t i = 0; i < loop->metrics.count; i++)
            if (strncmp(loop->metrics.item[i].name, "reward", 6) == 0)
                put_line(&out, "  %-40s %12.4g\n", loop->metrics.item[i].name,
                         loop->metrics.item[i].sum / (double)loop->metrics.item[i].count);
    for (size_t i = 0; i < after->count; i++) {
        put_line(&out, "\nprompt  ");
        put_plain(&out, after->shown[i].prompt);
        if (i < before->count)
            put_shown(&out, "before", &before->shown[i]);
        put_shown(&out, "after", &after->shown[i]);
        mete_buffer_string(&out, "\n");
    }
    mete__gold g;
    if (mete__watch_gold(loop, &g))
        put_line(&out, "\n" METE__GOLD_FORMAT "\n", g.best_iteration, g.best_sqrt_kl,
                 g.change_since, g.highest, g.last);
    char *text = out.data ? strndup(out.data, out.length) : NULL;
    mete_buffer_free(&out);
    return text;
}

static void
put_judged(mete_buffer *out, const char *name, const mete__judged *judged)
{
    mete_buffer_string(out, ",");
    mete_json_put_text(out, mete_text_from(name));
    mete_buffer_string(out, ":{\"metrics\":{");
    for (size_t i = 0; i < judged->metrics.count; i++) {
        double value = judged->metrics.item[i].sum / (double)judged->metrics.item[i].count;
        mete_buffer_string(out, i ? "," : "");
        mete_json_put_text(out, mete_text_from(judged->metrics.item[i].name));
        mete_buffer_string(out, ":");
        mete_json_put_number(out, value);
    }
    mete_buffer_string(out, "},\"samples\":[");
    for (size_t i = 0; i < judged->count; i++) {
        mete_buffer_string(out, i ? ",{\"prompt\":" : "{\"prompt\":");
        mete_json_put_text(out, mete_text_from(judged->shown[i].prompt));
        mete_buffer_string(out, ",\"response\":");
        mete_json_put_text(out, mete_text_from(judged->shown[i].response));
        mete_buffer_string(out, ",\"reward\":");
        mete_json_put_number(out, judged->shown[i].reward);
        mete_buffer_string(out, "}");
    }
    mete_buffer_string(out, "]}");
}

static void
put_gold(mete_buffer *out, const mete__loop *loop)
{
    static const char *const key[] = {"best_iteration", "best_sqrt_kl", "change_since", "highest",
                                      "last"};
    mete__gold g;
    if (!mete__watch_gold(loop, &g))
        return;
    const double value[] = {g.best_iteration, g.best_sqrt_kl, g.change_since, g.highest, g.last};
    mete_buffer_string(out, ",\"gold\":{");
    for (size_t i = 0; i < sizeof key / sizeof *key; i++) {
        put_line(out, "%s\"%s\":", i ? "," : "", key[i]);
        mete_json_put_number(out, value[i]);
    }
    mete_buffer_string(out, "}");
}

char *
mete__loop_summary_json(const mete__loop *loop)
{
    mete_buffer out = mete_buffer_make((size_t)8 << 20);
    put_line(&out, "{\"iterations\":%llu,\"parameters\":%zu", (unsigned long long)loop->done,
             loop->parameters);
    put_judged(&out, "before", &loop->before);
    put_judged(&out, "after", &loop->after);
    put_gold(&out, loop);
    mete_buffer_string(&out, "}");
    char *text = out.data ? strndup(out.data, out.length) : NULL;
    mete_buffer_free(&out);
    return text;
}

/* ---- samples --------------------------------------------------------------------------------- */

/* {"NODE":VALUE,...} of one row. */
static void
put_values(mete_buffer *out, mete_node *const *node, size_t nodes, size_t row)
{
    bool first = true;
    mete_buffer_string(out, ",\"nodes\":{");
    for (size_t k = 0; k < nodes; k++) {
        const mete_scores *scores = mete__node_scores(node[k]);
        if (node[k]->kind != METE_KIND_REWARD || !scores)
            continue;
        mete_buffer_string(out, first ? "" : ",");
        mete_json_put_text(out, mete_text_from(node[k]->path));
        mete_buffer_string(out, ":");
        if (scores->status[row])
            mete_buffer_string(out, "null");
        else
            mete_json_put_number(out, scores->episode[row]);
        first = false;
    }
    mete_buffer_string(out, "}");
}

/* Why nodes have no value for the row. */
static void
put_reasons(mete_buffer *out, mete_node *const *node, size_t nodes, size_t row)
{
    size_t count = 0;
    for (size_t k = 0; k < nodes; k++) {
        const mete_scores *scores =
            node[k]->kind == METE_KIND_REWARD ? mete__node_scores(node[k]) : NULL;
        const char *reason = scores && scores->status[row] ? mete__node_reason(node[k], row) : "";
        if (!*reason)
            continue;
        mete_buffer_string(out, count++ ? "," : ",\"why\":{");
        mete_json_put_text(out, mete_text_from(node[k]->path));
        mete_buffer_string(out, ":");
        mete_json_put_text(out, mete_text_from(reason));
    }
    mete_buffer_string(out, count ? "}" : "");
}

/* What nodes noted of the row, and how far it holds. */
static void
put_notes(mete_buffer *out, mete_node *const *node, size_t nodes, size_t row)
{
    size_t count = 0;
    for (size_t k = 0; k < nodes; k++) {
        mete_buffer notes = mete_buffer_make((size_t)1 << 20);
        if (node[k]->kind == METE_KIND_REWARD && mete__node_notes(node[k], row, &notes) &&
            !notes.status) {
            mete_buffer_string(out, count++ ? "," : ",\"notes\":{");
            mete_json_put_text(out, mete_text_from(node[k]->path));
            mete_buffer_string(out, ":");
            mete_buffer_append(out, notes.data, notes.length);
        }
        mete_buffer_free(&notes);
    }
    mete_buffer_string(out, count ? "}" : "");
}

/* The criteria each rubric judged the row by, and how far they are met. */
static void
put_criteria(mete_buffer *out, mete_node *const *node, size_t nodes, size_t row)
{
    size_t count = 0;
    for (size_t k = 0; k < nodes; k++) {
        const mete__graded *graded = mete__node_graded(node[k], row);
        if (!graded)
            continue;
        mete_buffer_string(out, count++ ? "," : ",\"criteria\":{");
        mete_json_put_text(out, mete_text_from(node[k]->path));
        mete_buffer_byte(out, ':');
        mete__put_graded(out, graded);
    }
    mete_buffer_string(out, count ? "}" : "");
}

/* The bytes of the response each step stands for, and what nodes that value steps give each; of
 * rows that are not too long for a line of a file. */
static void
put_steps(mete_buffer *out, const mete_batch *batch, mete_node *const *node, size_t nodes,
          size_t row)
{
    size_t begin = batch->step_begin[row], end = batch->step_begin[row + 1], count = 0;
    if (!batch->span || end == begin || end - begin > STEPS_KEPT)
        return;
    for (size_t k = 0; k < nodes; k++) {
        const mete_scores *scores =
            node[k]->kind == METE_KIND_REWARD ? mete__node_scores(node[k]) : NULL;
        if (!scores || !scores->steps_given || scores->status[row])
            continue;
        mete_buffer_string(out, count++ ? "," : ",\"steps\":{");
        mete_json_put_text(out, mete_text_from(node[k]->path));
        for (size_t t = begin; t < end; t++)
            put_line(out, "%s%.4g", t > begin ? "," : ":[",
                     isfinite(scores->step[t]) ? scores->step[t] : 0.0);
        mete_buffer_string(out, "]");
    }
    if (!count)
        return;
    mete_buffer_string(out, "},\"spans\":");
    for (size_t t = begin; t < end; t++)
        put_line(out, "%s[%u,%u]", t > begin ? "," : "[", batch->span[2 * t],
                 batch->span[2 * t + 1]);
    mete_buffer_string(out, "]");
}

int
mete__loop_samples(mete__loop *loop, const mete_batch *batch, mete_error *err)
{
    size_t nodes, most = batch->episodes < METE__SAMPLES ? batch->episodes : METE__SAMPLES;
    mete_node *const *node = mete__engine_nodes(loop->engine, &nodes);
    int status = METE_OK;
    if (!loop->sinks.sample || !batch->response)
        return METE_OK;
    for (size_t i = 0; i < most && !status; i++) {
        mete_buffer out = mete_buffer_make((size_t)4 << 20);
        put_line(&out, "{\"iteration\":%llu,\"episode\":\"%llx\",\"prompt\":",
                 (unsigned long long)loop->done, (unsigned long long)batch->id[i]);
        mete_json_put_text(&out, batch->prompt[i]);
        mete_buffer_string(&out, ",\"response\":");
        mete_json_put_text(&out, batch->response[i]);
        put_values(&out, node, nodes, i);
        put_reasons(&out, node, nodes, i);
        put_criteria(&out, node, nodes, i);
        put_notes(&out, node, nodes, i);
        put_steps(&out, batch, node, nodes, i);
        mete_buffer_string(&out, "}");
        if (out.data && !out.status)
            status = loop->sinks.sample(loop->sinks.user, out.data, out.length, err);
        mete_buffer_free(&out);
    }
    return status;
}
