#include "scoring.h"

#include "engine/engine.h"

#include <CUnit/CUnit.h>
#include <stdio.h>
#include <string.h>

void
scoring_reasons(const char *text, const char *const *response, const char *reference, size_t rows,
                double *value, int *status, char (*reason)[300])
{
    mete__errors errors = {0};
    mete_error err = {0};
    mete__engine_options options = {.seed = 1, .threads = 1};
    mete__config *config = mete__config_parse("r.cfg", text, strlen(text), NULL, 0, &errors);
    mete__engine *engine = config ? mete__engine_open(config, &options, &errors) : NULL;
    if (errors.count)
        printf("%s\n", errors.line[0]);
    CU_ASSERT_PTR_NOT_NULL_FATAL(engine);
    mete__builder *builder = mete__builder_new();
    mete__builder_shape(builder, &(mete__shape){.text = true});
    int column = mete__builder_column(builder, "reference", METE_LIST, METE_TEXT, METE_EPISODE,
                                      METE_SEE_REWARD);
    for (size_t i = 0; i < rows; i++) {
        mete_text right = mete_text_from(reference);
        mete__builder_row(builder, &(mete__row){.id = i,
                                                .prompt_id = 1,
                                                .joins = i > 0,
                                                .prompt = mete_text_from("a[1], b[2], c[3]"),
                                                .response = mete_text_from(response[i])});
        mete__builder_list(builder, column, &right, reference != NULL);
    }
    mete_node *root = mete__engine_reward(engine);
    CU_ASSERT_EQUAL_FATAL(mete__score(engine, root, mete__builder_batch(builder, &err), &err),
                          METE_OK);
    for (size_t i = 0; i < rows; i++) {
        value[i] = mete__node_scores(root)->episode[i];
        status[i] = mete__node_scores(root)->status[i];
        if (reason)
            snprintf(reason[i], sizeof reason[i], "%s", mete__node_reason(root, i));
    }
    mete__builder_free(builder);
    mete__engine_close(engine);
    mete__config_free(config);
    mete__errors_free(&errors);
}

void
scoring(const char *text, const char *const *response, const char *reference, size_t rows,
        double *value, int *status)
{
    scoring_reasons(text, response, reference, rows, value, status, NULL);
}
