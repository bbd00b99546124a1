/* What the code needs and the CPU lacks is an error in time, and by name.
 * Usage: check_feature has|lacks FEATURE */
#include <string.h>

#include "network.h"

int main(int count, char **arguments) {
  CHECK(count == 3);
  tvmcomp_network other = network;
  other.features = arguments[2];
  const char *lacking = tvmcomp_missing_feature(&other);
  tvmcomp_context *context;
  tvmcomp_status status = tvmcomp_create(&other, NULL, &context);
  if (!strcmp(arguments[1], "has")) {
    CHECK(!lacking && status == TVMCOMP_OK);
    check_run(context, 1);
  } else {
    CHECK(lacking && !strcmp(lacking, arguments[2]));
    CHECK(status == TVMCOMP_MISSING_FEATURE && !context);
  }
  tvmcomp_destroy(context);
  return 0;
}
