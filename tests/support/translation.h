#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "tests/support/paths.h"

namespace attune::testing {

/// Writes train.en, train.es, val.en and val.es with pairs of the embedded grammar into `folder`; returns its path.
std::string write_pairs(const TemporaryDirectory& directory, const std::string& folder, int64_t train,
                        int64_t val = 10);

/// Command line of a training run that takes a moment: a small model on the folder `data`; `more` comes last.
std::vector<std::string> small_translation_training(const std::string& data, const std::string& out,
                                                    const std::vector<std::string>& more = {});

}  // namespace attune::testing
