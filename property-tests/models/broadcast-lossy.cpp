// The broadcast ring of packages/ring/src/broadcast without gates: names and numbers of steps as in layout.ts. One publisher, its
// successor, readers that may be stopped anywhere, and a newcomer that asks for the number of the next message.
//
// A word of the ring holds the number of its message + 1. A message takes one word, or two. Positions are whole here:
// broadcast-position.cpp is about their two words.
#include "command.hpp"

namespace models {

constexpr int WORDS_MAX = 8, POSITIONS_MAX = 24, READERS_MAX = 2, NONE = -1;

enum Mutant {
  NOTHING, VALIDATED_BY_WRITE_POSITION, INTENT_LATE, NOT_VALIDATED, SUCCESSOR_AT_INTENT, INTENT_TAKEN_BACK, NUMBER_LATE, ONE_PLACE,
  NUMBER_NOT_LOOKED_AT_AGAIN, SUCCESSOR_PUBLISHES_AGAIN,
};

enum Step : Byte { IDLE, WRITE, INTENT_AFTER, PLACE_POSITION, PLACE_NUMBER, POSITION, LATE_POSITION, LATE_NUMBER, CHECKPOINT };
enum ReadStep : Byte { LOAD, HEADER, REST, VALIDATE, BEGIN_POSITION, BEGIN_CHECKPOINT, BEGIN_INTENT };
enum NewcomerStep : Byte { N_LOAD, N_PLACE, N_NUMBER, N_AGAIN, N_OVER };

struct Place { int8_t position; Byte number; };
struct Writer { Step step; Byte word, held, left, isTakingOver; int8_t position; Byte number; };
struct Reader { ReadStep step; int8_t cursor, seen, begin; Byte word, number, isTorn, hasExpected, expected; };
struct Newcomer { NewcomerStep step; int8_t seen; Byte place, number; };

struct LossyState {
  Byte words[WORDS_MAX];
  int8_t intent, writePosition, checkpoints[2];
  Place places[2];
  Byte kills;
  Writer writer;
  Reader readers[READERS_MAX];
  Newcomer newcomer;
  // What is true: how many messages lie before a position that was published; 0xff for one that was not.
  Byte before[POSITIONS_MAX];
};

class Lossy : public PlainStates<LossyState> {
 public:
  static constexpr const char* mutantNames[] = {
      "nothing", "a copy is validated by the write position", "the intent is stored after the words", "a copy is not validated",
      "a successor begins at the intent", "a successor takes the intent back", "the number is written after the position",
      "the number has one place", "a newcomer does not look at the position again", 
      "a successor publishes the same position again",
  };

  Lossy(std::map<std::string, int> numbers, int mutant)
      : capacity(numbers["words"]), messages(numbers["messages"]), readers(numbers["readers"]), cork(numbers["cork"]), killsMax(numbers["kills"]),
        hasNewcomer(numbers["newcomer"]), mutant(Mutant(mutant)) {}

  LossyState initial() const {
    LossyState s;
    memset(&s, 0, sizeof s);
    memset(s.before, 0xff, sizeof s.before);
    s.before[0] = 0;
    s.writer.left = Byte(messages);
    return s;
  }

  template <class Take> void actions(const LossyState& s, Take take) {
    LossyState n = s;
    if (stepWriter(n)) {
      take(actionOf(0, n.writer.step), n);
      if (s.kills < killsMax) { LossyState d = s; kill(d); take(actionOf(0, KILL), d); }
    }
    for (int k = 0; k < readers; k++) {
      n = s;
      if (stepReader(n, n.readers[k])) take(actionOf(1 + k, n.readers[k].step), n);
    }
    n = s;
    if (hasNewcomer && stepNewcomer(n)) take(actionOf(1 + readers, n.newcomer.step), n);
  }

  bool checkRest(const LossyState& s) {
    if (s.writer.left != 0 || s.writer.step != IDLE) return false;
    for (int k = 0; k < readers; k++) if (s.readers[k].cursor != s.writePosition || s.readers[k].step != LOAD) return false;
    if (s.before[int(s.writePosition)] != messages) fail("not as many messages as were sent");
    return true;
  }

  std::string describe(Byte action, const LossyState& s) const {
    char text[300];
    int n = snprintf(text, sizeof text, "%s %d: write %d intent %d at %d, words", peerOf(action) == 0 ? "publisher" : "reader", kindOf(action), s.writePosition, s.intent, s.writer.position);
    for (int k = 0; k < capacity; k++) n += snprintf(text + n, sizeof text - n, " %d", s.words[k]);
    for (int k = 0; k < readers; k++) n += snprintf(text + n, sizeof text - n, "; reader step %d at %d", s.readers[k].step, s.readers[k].cursor);
    return text;
  }

 private:
  const int capacity, messages, readers, cork, killsMax, hasNewcomer;
  const Mutant mutant;

  static int wordsOf(int number) { return number % 2 == 0 ? 2 : 1; }

  int otherPlace(const LossyState& s) const { return mutant == ONE_PLACE ? 0 : s.places[0].position == s.writePosition ? 1 : 0; }

  void raiseIntent(LossyState& s, int end) const {
    // An eighth of a ring is one word here.
    const int limit = s.writePosition + capacity;
    s.intent = int8_t(end + 1 < limit ? end + 1 : limit);
    if (s.intent < end) s.intent = int8_t(end);
  }

  void publish(Writer& w) const { w.step = mutant == NUMBER_LATE ? LATE_POSITION : PLACE_POSITION; }

  // Each step is one access to shared memory.
  bool stepWriter(LossyState& s) {
    Writer& w = s.writer;
    switch (w.step) {
      case IDLE: {
        if (w.isTakingOver) { w.isTakingOver = 0; publish(w); return stepWriter(s); }
        if (w.left == 0) return false;
        const int end = w.position + wordsOf(w.number);
        if (w.held > 0 && end > s.writePosition + capacity) { publish(w); return stepWriter(s); }
        w.step = WRITE;
        if (mutant == INTENT_LATE) return stepWriter(s);
        if (mutant == INTENT_TAKEN_BACK ? end != s.intent : end > s.intent) {
          if (mutant == INTENT_TAKEN_BACK) s.intent = int8_t(end);
          else raiseIntent(s, end);  // G2
          return true;
        }
        return stepWriter(s);
      }
      case WRITE:  // G3
        s.words[(w.position + w.word) % capacity] = Byte(w.number + 1);
        if (++w.word < wordsOf(w.number)) return true;
        w.word = 0;
        w.step = INTENT_AFTER;
        return true;
      case INTENT_AFTER: {
        const int end = w.position + wordsOf(w.number);
        const bool isLate = mutant == INTENT_LATE && end > s.intent;
        if (isLate) raiseIntent(s, end);
        w.position = int8_t(end);
        w.number++;
        w.held++;
        w.left--;
        w.step = IDLE;
        if (w.held == cork || w.left == 0) publish(w);
        return isLate || stepWriter(s);
      }
      case PLACE_POSITION:
        s.places[otherPlace(s)].position = w.position;
        w.step = PLACE_NUMBER;
        return true;
      case PLACE_NUMBER: {
        // The place was chosen when its position was written, with the write position of then.
        const int place = mutant == ONE_PLACE || s.places[0].position == w.position ? 0 : 1;
        s.places[place].number = w.number;
        w.step = POSITION;
        return true;
      }
      case POSITION: case LATE_POSITION:  // G4
        s.before[int(w.position)] = w.number;
        s.writePosition = w.position;
        w.held = 0;
        if (w.step == LATE_POSITION) { w.step = LATE_NUMBER; return true; }
        w.step = CHECKPOINT;
        return true;
      case LATE_NUMBER: {
        const int place = s.places[0].position < s.places[1].position ? 0 : 1;
        s.places[place] = {w.position, w.number};
        w.step = CHECKPOINT;
        return true;
      }
      case CHECKPOINT: {  // G5
        int8_t& checkpoint = s.checkpoints[w.position / (capacity / 2) % 2];
        const bool isNew = checkpoint / (capacity / 2) != w.position / (capacity / 2);
        w.step = IDLE;
        if (isNew) checkpoint = w.position;
        return true;
      }
    }
    return false;
  }

  void kill(LossyState& s) const {
    Writer w;
    memset(&w, 0, sizeof w);
    // What was not published was never sent: its program sends it again.
    w.position = mutant == SUCCESSOR_AT_INTENT ? s.intent : s.writePosition;
    const Place& place = s.places[0].position == s.writePosition ? s.places[0] : s.places[1];
    w.number = place.number;
    w.left = Byte(messages - s.before[int(s.writePosition)]);
    w.isTakingOver = mutant == SUCCESSOR_PUBLISHES_AGAIN;
    s.writer = w;
    s.kills++;
  }

  bool stepReader(LossyState& s, Reader& r) {
    switch (r.step) {
      case LOAD:  // R1, R2
        r.seen = s.writePosition;
        if (r.seen == r.cursor) { r.seen = 0; return false; }
        if (r.seen - r.cursor > capacity) overrun(r);
        else r.step = HEADER;
        return true;
      case HEADER:  // R3
        r.number = s.words[r.cursor % capacity];
        r.isTorn = r.number == 0 || r.cursor + wordsOf(r.number - 1) > r.seen;
        r.step = !r.isTorn && wordsOf(r.number - 1) > 1 ? REST : VALIDATE;
        return true;
      case REST:  // R4
        if (s.words[(r.cursor + 1) % capacity] != r.number) r.isTorn = 1;
        r.step = VALIDATE;
        return true;
      case VALIDATE: {  // R5
        const int bound = mutant == VALIDATED_BY_WRITE_POSITION ? s.writePosition : mutant == NOT_VALIDATED ? r.cursor : s.intent;
        if (bound - r.cursor > capacity) { overrun(r); return true; }
        if (r.isTorn) fail("a copy that is not whole was taken for good");
        const int number = r.number - 1;
        if (s.before[int(r.cursor)] != number && s.before[int(r.cursor)] != 0xff) fail("a record is not the one of its position");
        if (r.hasExpected && number < r.expected) fail("a message was delivered twice, or out of order");
        r.hasExpected = 1;
        r.expected = Byte(number + 1);
        r.cursor = int8_t(r.cursor + wordsOf(number));
        if (s.before[int(r.cursor)] != 0xff && s.before[int(r.cursor)] != r.expected) fail("the messages that are lost were not counted exactly");
        toStart(r);
        return true;
      }
      // From the oldest checkpoint that is left: as a newcomer, from 'oldest', begins.
      case BEGIN_POSITION:
        r.seen = s.writePosition;
        r.cursor = r.seen;
        r.step = BEGIN_CHECKPOINT;
        return true;
      case BEGIN_CHECKPOINT: {
        const int behind = r.seen - s.checkpoints[r.word];
        if (behind >= 0 && behind <= capacity && r.seen - behind < r.cursor) r.cursor = int8_t(r.seen - behind);
        if (++r.word == 2) { r.word = 0; r.step = BEGIN_INTENT; }
        return true;
      }
      case BEGIN_INTENT:
        if (s.intent - r.cursor > capacity) r.cursor = r.seen;
        if (s.before[int(r.cursor)] == 0xff) fail("a checkpoint is not a position that was published");
        toStart(r);
        return true;
    }
    return false;
  }

  void overrun(Reader& r) const {
    r.seen = 0;
    r.number = r.isTorn = r.word = 0;
    r.step = BEGIN_POSITION;
  }

  void toStart(Reader& r) const {
    r.step = LOAD;
    r.seen = 0;
    r.number = r.isTorn = r.word = 0;
  }

  bool stepNewcomer(LossyState& s) {
    Newcomer& n = s.newcomer;
    switch (n.step) {
      case N_LOAD:
        n.seen = s.writePosition;
        n.step = N_PLACE;
        return true;
      case N_PLACE:
        n.place = s.places[0].position == n.seen ? 0 : 1;
        n.step = N_NUMBER;
        return true;
      case N_NUMBER:
        n.number = s.places[n.place].number;
        n.step = N_AGAIN;
        return true;
      case N_AGAIN:
        if (s.writePosition != n.seen && mutant != NUMBER_NOT_LOOKED_AT_AGAIN) {
          memset(&n, 0, sizeof n);
          return true;
        }
        if (s.before[int(n.seen)] != n.number) fail("the number is not the one of the write position");
        memset(&n, 0, sizeof n);
        n.step = N_OVER;
        return true;
      default: return false;
    }
  }
};

constexpr const char* Lossy::mutantNames[];

}  // namespace models

int main(int count, char** words) {
  return models::runCommand<models::Lossy>(count, words, {{"words", 4}, {"messages", 5}, {"readers", 1}, {"cork", 1}, {"kills", 1}, {"newcomer", 0}});
}
