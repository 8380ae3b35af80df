/* kind: rubric */
/* Criteria that break the contract as `mode` says; selftest must name each breach. */
#include <math.h>
#include <mete/rubric.h>
#include <stdio.h>

enum { HONEST, EMPTY, NO_CHECK, TWICE, ONE_GRADE, ORPHAN, NO_NUMBER, COUNTS_CALLS, COUNTS_ROWS };

struct writer {
    int mode;
};

static const mete_option options[] = {
    METE_ENUM(struct writer, mode, HONEST,
              "honest|empty|no_check|twice|one_grade|orphan|no_number|counts_calls|counts_rows",
              "what it does wrong"),
    METE_OPTIONS_END};

static int
generate(mete_ctx *cx, const void *self, const mete_batch *prompts, mete_criteria *out)
{
    static int calls;
    const struct writer *p = self;
    int status = METE_OK;
    calls++;
    for (size_t row = 0; row < prompts->episodes && !status; row++)
        for (int k = 0; k < 2 && !status; k++) {
            char id[24];
            snprintf(id, sizeof id, "c%d", p->mode == TWICE ? 0 : k);
            mete_criterion c = {.size = sizeof c,
                                .kind = METE_CRITERION_JUDGED,
                                .id = mete_text_from(id),
                                .text = mete_text_from(p->mode == EMPTY ? " \n" : "is kind"),
                                .points = p->mode == NO_NUMBER      ? NAN
                                          : p->mode == COUNTS_CALLS ? calls
                                          : p->mode == COUNTS_ROWS  ? (double)row
                                                                    : 1,
                                .parent = p->mode == ORPHAN ? 7 : k - 1};
            if (p->mode == NO_CHECK)
                c.kind = METE_CRITERION_PROGRAM;
            if (p->mode == ONE_GRADE) {
                c.kind = METE_CRITERION_ORDINAL;
                c.scale = 1;
            }
            status = mete_criterion_add(cx, out, row, &c);
        }
    return status;
}

METE_RUBRIC_PLUGIN(writer, "1", "criteria, with faults", .options = options,
                   .state_size = sizeof(struct writer), .generate = generate);
