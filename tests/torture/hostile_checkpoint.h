#pragma once

#include <filesystem>
#include <string>

#include "tests/torture/campaign.h"

namespace attune::torture {

/// What was done to a checkpoint.
struct HostileCheckpoint {
  std::string what;
  bool not_finite = false;  ///< weights are NaN or infinite, all else is right
};

/// Reads a good checkpoint and writes a bad one.
HostileCheckpoint make_hostile_checkpoint(Trial& trial, const std::filesystem::path& good,
                                          const std::filesystem::path& bad);

}  // namespace attune::torture
