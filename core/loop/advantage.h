/* advantage.h - from rewards to advantages: pure functions on arrays. */
#ifndef METE_LOOP_ADVANTAGE_H
#define METE_LOOP_ADVANTAGE_H

#include <mete/batch.h>
#include <stdbool.h>

typedef enum mete__advantage_form {
    METE__ADVANTAGE_NONE,         /* the row's return, on each of its steps */
    METE__ADVANTAGE_TOGO,         /* discounted reward to go, minus the value where there is one */
    METE__ADVANTAGE_GAE,          /* Schulman et al. 2016, eq. 16 */
    METE__ADVANTAGE_GROUP,        /* the row's return minus its group's mean (Shao et al. 2024) */
    METE__ADVANTAGE_LEAVE_ONE_OUT /* minus the mean of the others (Ahmadian et al. 2024) */
} mete__advantage_form;

/* Rewards to go within each row, discounted: out[t] = r[t] + gamma out[t+1], where what follows a
 * row that did not terminate is `last` [episodes] (NULL: 0). */
void mete__returns(const mete_batch *batch, const double *reward, double gamma, const double *last,
                   double *out);
/* GAE over fragments. value [steps], last [episodes]: the value after each row's last step, used
 * where the row did not terminate. advantage and target = advantage + value, [steps]. */
void mete__gae(const mete_batch *batch, const double *reward, const double *value,
               const double *last, double gamma, double lambda, double *advantage, double *target);
/* Group-relative advantages of row values [episodes] into out [episodes]. Rows with valid[i] == 0
 * are left out of their group's baseline and get 0. With `divide`, by the group's sample standard
 * deviation (n - 1) + epsilon. Rows of a group without spread get exactly 0. `flat` [episodes] (may
 * be NULL) is set to 1 for rows of such groups. Returns the number of groups without spread. */
size_t mete__group_relative(const mete_batch *batch, const double *value, const uint8_t *valid,
                            bool divide, double epsilon, double *out, uint8_t *flat);
/* The row's value minus the mean of the others in its group; alone in its group: 0. With `divide`
 * by the standard deviation (n - 1) of the whole group + epsilon, which has spread whenever one row
 * differs: the others' alone would vanish on [1, 0, 0, 0] and the quotient explode. */
size_t mete__leave_one_out(const mete_batch *batch, const double *value, const uint8_t *valid,
                           bool divide, double epsilon, double *out, uint8_t *flat);
/* What `part` [episodes] is answerable for in mete__group_relative (others: mete__leave_one_out) of
 * `whole`: its own difference from its group's mean, on the whole's scale. So the parts of values
 * that add up to the whole add up to the whole's advantage. */
void mete__group_part(const mete_batch *batch, const double *whole, const double *part,
                      const uint8_t *valid, bool divide, double epsilon, bool others, double *out);
/* Subtracts the mean and divides by the standard deviation (n - 1) + epsilon of advantage over the
 * steps with use[t] != 0. */
void mete__normalise(double *advantage, const uint8_t *use, size_t steps, double epsilon);

#endif
