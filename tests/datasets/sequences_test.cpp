#include "datasets/sequences.h"

#include <catch2/catch_test_macros.hpp>

#include <utility>
#include <vector>

#include "datasets/hash.h"

namespace attune {
namespace {

using Ids = std::vector<int64_t>;

LabelledSequences sequences_of(const std::vector<std::pair<Ids, int64_t>>& rows) {
  LabelledSequences sequences;
  for (const auto& [tokens, label] : rows) sequences.add(tokens, label);
  return sequences;
}

TEST_CASE("sequences: what was added", "[datasets][loader]") {
  const LabelledSequences sequences = sequences_of({{{4, 5}, 1}, {{}, 0}, {{6}, 2}});
  CHECK(sequences.size() == 3);
  CHECK(sequences.token_count() == 3);
  CHECK(sequences.lengths() == Ids{2, 0, 1});
  CHECK(Ids(sequences.tokens(0).begin(), sequences.tokens(0).end()) == Ids{4, 5});
  CHECK(sequences.tokens(1).empty());
  CHECK(sequences.label(2) == 2);
}

TEST_CASE("sequences: the fingerprint sees tokens, their bounds and labels", "[datasets][loader]") {
  const uint64_t one = sequences_of({{{1, 2}, 0}, {{3}, 1}}).fingerprint();
  CHECK(one == sequences_of({{{1, 2}, 0}, {{3}, 1}}).fingerprint());
  CHECK(one != sequences_of({{{1, 4}, 0}, {{3}, 1}}).fingerprint());
  CHECK(one != sequences_of({{{1}, 0}, {{2, 3}, 1}}).fingerprint());
  CHECK(one != sequences_of({{{1, 2}, 0}, {{3}, 0}}).fingerprint());
  CHECK(one != sequences_of({{{3}, 1}, {{1, 2}, 0}}).fingerprint());
}

// The splits of generated data and saved positions depend on these values.
TEST_CASE("stable hash: the same for ever", "[datasets]") {
  CHECK(stable_hash("") == 0xEFD01F60BA992926u);
  CHECK(stable_hash("attune") == 0xC6907411BE718349u);
  CHECK(stable_hash("attune", 1) != stable_hash("attune"));
}

}  // namespace
}  // namespace attune
