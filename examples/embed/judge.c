/* judge.c - scores one answer from a C program: judge CONFIG PROMPT RESPONSE */
#include <mete/mete.h>
#include <stdio.h>

int
main(int argc, char **argv)
{
    mete_error err = {0};
    mete_results *out;
    mete_scorer *scorer = argc == 4 ? mete_open(argv[1], NULL, &err) : NULL;
    mete_record row = {.size = sizeof row};
    row.prompt = mete_text_from(argc == 4 ? argv[2] : "");
    row.response = mete_text_from(argc == 4 ? argv[3] : "");
    if (!scorer || mete_score(scorer, &row, 1, &out, &err)) {
        fprintf(stderr, "%s\n", argc == 4 ? err.message : "usage: judge CONFIG PROMPT RESPONSE");
        return 1;
    }
    if (out->status[0] == METE_VALID)
        printf("%.17g\n", out->reward[0]);
    else
        printf("no score: %s\n", out->reason[0]);
    for (size_t k = 0; k < out->components; k++)
        printf("  %s %.17g\n", out->name[k], out->component[k]);
    mete_results_free(out);
    mete_close(scorer);
    return 0;
}
