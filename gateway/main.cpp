#include "gateway/cli/cli.hpp"

int main(int argc, char** argv) {
  return oceanid::cli::run(argc, argv);
}
