#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "datasets/parallel_corpus.h"
#include "datasets/scores/alignment.h"

namespace attune {

enum class BilingualSplit : uint8_t { kTrain, kVal, kTest };

struct BilingualOptions {
  int64_t count = 20000;
  uint64_t seed = 0;
  BilingualSplit split = BilingualSplit::kTrain;
};

/// An English sentence, its Spanish translation, and which of their words belong together.
struct BilingualPair {
  std::string source;  ///< words joined by spaces, lower case
  std::string target;
  std::vector<AlignmentLink> sure;      ///< numbers of the words, from 0
  std::vector<AlignmentLink> possible;  ///< besides: words that only mark grammar, as "does" beside a verb
};

/// Sentences from a bilingual grammar, for demonstrations and tests without a file: "does the teacher 's small dog see
/// her ?" and "¿ la ve el perro pequeño del maestro ?".
///
/// What has to be learned: adjectives and owners follow their nouns; articles, adjectives and quantifiers agree in
/// gender and number, verbs in person and tense; subject pronouns are dropped (other than he and she), object pronouns
/// stand before the verb; "do not" is "no", questions begin with the verb, adverbs of time come first in statements; de
/// + el is del, a + el is al, persons and animals as objects take "a"; two verbs for "be". Each English sentence has
/// one translation.
///
/// The same options give the same pairs on every machine, and a smaller count gives a prefix. Splits share no English
/// sentence, for any seeds: a hash of it says to which one it belongs (8 : 1 : 1).
///
/// Throws ValueError for a negative count.
std::vector<BilingualPair> generate_bilingual(const BilingualOptions& options);

/// The sentences as a corpus that messages call `name`, such as "embedded train"; line i + 1 is pair i.
ParallelCorpus to_corpus(std::span<const BilingualPair> pairs, const std::string& name);

}  // namespace attune
