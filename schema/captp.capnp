# The wire: Cap'n Proto RPC as it is spoken today.
#
# Level 1 (bootstrap, calls, pipelining, references, promises, loopback disembargo) has the layout
# that every released implementation speaks. The messages of level 3 (three-party handoff) have the
# redesigned form, which the released ones do not know; they are sent only to peers that announced
# them in their hello (network.capnp).
#
# Each side of a connection keeps four tables, named from its own point of view:
#
#   questions  calls it made           the other side calls the same entries answers
#   answers    calls it received       … questions
#   exports    references it gave      … imports
#   imports    references it was given … exports
#
# Ids in a message are the sender's: "my question 3", "your export 5". The side that owns a
# question or an export chooses its number and reuses it when both sides are done with it.

@0xb312981b2552a250;

using QuestionId = UInt32;
# Chosen by the caller. Free again when the caller has sent Finish and received Return (Return
# alone, if it says that no Finish is needed).

using AnswerId = QuestionId;
# The same number seen by the callee.

using ExportId = UInt32;
# Chosen by the side that gives the reference. Free again when every count that was given has come
# back in Release messages.

using ImportId = ExportId;
# The same number seen by the side that holds the reference.

using ThirdPartyToContact = AnyPointer;
# Tells the recipient of a handed-off reference whom to contact and what to say. This and the
# following types get their meaning from the vat network.

using ThirdPartyToAwait = AnyPointer;
# Tells the host of a handed-off reference who will come for it.

using ThirdPartyCompletion = AnyPointer;
# What the recipient says to the host.

using JoinKeyPart = AnyPointer;

struct Message {
  # What one side sends the other. A receiver that does not know the variant echoes the message
  # in `unimplemented`.

  union {
    unimplemented @0 :Message;
    # "You sent me this, and I do not know it."

    abort @1 :Exception;
    # The last message: the sender closes the connection for this reason.

    # Level 0

    bootstrap @8 :Bootstrap;
    call @2 :Call;
    return @3 :Return;
    finish @4 :Finish;

    # Level 1

    resolve @5 :Resolve;
    release @6 :Release;
    disembargo @13 :Disembargo;

    # Never in use

    obsoleteSave @7 :AnyPointer;
    obsoleteDelete @9 :AnyPointer;

    # Level 3

    provide @10 :Provide;
    accept @11 :Accept;
    thirdPartyAnswer @14 :ThirdPartyAnswer;

    # Level 4

    join @12 :Join;
  }
}

struct Bootstrap {
  # Asks for the reference that the receiver offers to whoever connects.

  questionId @0 :QuestionId;

  deprecatedObjectId @1 :AnyPointer;
  # Once the name of one of several such references; some implementations still use it as the
  # secret of a sturdy ref.
}

struct Call {
  questionId @0 :QuestionId;

  target @1 :MessageTarget;

  interfaceId @2 :UInt64;
  methodId @3 :UInt16;

  allowThirdPartyTailCall @8 :Bool = false;
  # The caller can take the answer from a third vat.

  noPromisePipelining @9 :Bool = false;
  # The caller will not pipeline on the answer.

  onlyPromisePipeline @10 :Bool = false;
  # The caller wants the answer for pipelining only: no Return is sent (if one comes, it is
  # ignored), Finish is.

  timeLeft @11 :UInt32;
  # Not Cap'n Proto's own: milliseconds until the caller gives up, from when the call was written; 0
  # if it does not. A call that waits then for room at the peer is not written anew. Only between
  # vats that both announced extended calls.

  params @4 :Payload;

  sendResultsTo :union {
    caller @5 :Void;
    # In the Return, as usual.

    yourself @6 :Void;
    # Keep them: a later Return of the caller refers to them with takeFromOtherQuestion.

    thirdParty @7 :ThirdPartyToContact;
  }
}

struct Return {
  answerId @0 :AnswerId;

  releaseParamCaps @1 :Bool = true;
  # The callee gives back every reference of the parameters, once each.

  noFinishNeeded @8 :Bool = false;
  # The callee has forgotten the answer already; Finish may be left out. Only with results that
  # carry no reference.

  union {
    results @2 :Payload;
    exception @3 :Exception;
    canceled @4 :Void;
    # Only after a Finish that came early.

    resultsSentElsewhere @5 :Void;
    # The answer to a Call whose results the callee keeps or sends to a third vat.

    takeFromOtherQuestion @6 :QuestionId;
    # The results are those of this question of the sender, which it made with
    # sendResultsTo.yourself. Once per question.

    awaitFromThirdParty @7 :ThirdPartyToAwait;
  }
}

struct Finish {
  # The caller is done with the answer: no further message names it. Before the Return it also
  # says that the results are not wanted.

  questionId @0 :QuestionId;

  releaseResultCaps @1 :Bool = true;
  # Every reference of the results is given back, once each.

  requireEarlyCancellationWorkaround @2 :Bool = true;
  # A Finish that arrives before the call was delivered must not stop its delivery.
}

struct Resolve {
  # What the promise that the sender exported as `promiseId` has become. The export stays until it
  # is released; calls that still arrive for it follow this resolution and no later one.

  promiseId @0 :ExportId;

  union {
    cap @1 :CapDescriptor;
    exception @2 :Exception;
  }
}

struct Release {
  # Gives back this many of the counts with which a reference was received.

  id @0 :ImportId;
  referenceCount @1 :UInt32;
}

struct Disembargo {
  # A marker that travels the way that earlier calls took, so that later calls can wait for it
  # before they take a shorter one.

  target @0 :MessageTarget;

  using EmbargoId = UInt32;
  # Chosen by the side that holds calls back; free again when the marker is back.

  using ThirdPartyEmbargoId = Data;

  context :union {
    senderLoopback @1 :EmbargoId;
    # To a promise that has resolved to something at the sender: send it back.

    receiverLoopback @2 :EmbargoId;
    # Here it is.

    accept @3 :ThirdPartyEmbargoId;
    # On its way to the host of a handed-off reference.
  }
}

struct Provide {
  # To the host: keep this reference ready for a third vat. Lasts until Finish; never answered.

  questionId @0 :QuestionId;
  target @1 :MessageTarget;
  recipient @2 :ThirdPartyToAwait;
}

struct Accept {
  # To the host: give me the reference that a third vat provided for me.

  questionId @0 :QuestionId;
  provision @1 :ThirdPartyCompletion;

  embargo @2 :Disembargo.ThirdPartyEmbargoId;
  # If set: answer and deliver only when the Disembargo with this id has arrived from the third vat.
}

struct ThirdPartyAnswer {
  # To the caller of a call that the sender was asked to answer in somebody's place.

  completion @0 :ThirdPartyCompletion;
  answerId @1 :AnswerId;
  # Chosen by the sender of this message, from 2^30 on.
}

struct Join {
  # Never in use.

  questionId @0 :QuestionId;
  target @1 :MessageTarget;
  keyPart @2 :JoinKeyPart;
}

struct MessageTarget {
  union {
    importedCap @0 :ImportId;
    # A reference that the receiver gave.

    promisedAnswer @1 :PromisedAnswer;
    # A reference inside a result that the receiver has still to give.
  }
}

struct Payload {
  content @0 :AnyPointer;
  # A capability pointer in it is an index into `capTable`.

  capTable @1 :List(CapDescriptor);
}

struct CapDescriptor {
  union {
    none @0 :Void;
    # Null: a reference to nothing.

    senderHosted @1 :ExportId;
    senderPromise @2 :ExportId;
    # As senderHosted, and a Resolve will follow.

    receiverHosted @3 :ImportId;
    receiverAnswer @4 :PromisedAnswer;

    thirdPartyHosted @5 :ThirdPartyCapDescriptor;
  }

  attachedFd @6 :UInt8 = 0xff;
  # Which of the message's file descriptors belongs to this reference; 0xff for none.
}

struct PromisedAnswer {
  questionId @0 :QuestionId;

  transform @1 :List(Op);
  # The way from the result's root pointer to the reference.

  struct Op {
    union {
      noop @0 :Void;
      getPointerField @1 :UInt16;
    }
  }
}

struct ThirdPartyCapDescriptor {
  id @0 :ThirdPartyToContact;

  vineId @1 :ExportId;
  # A reference through the sender: keeps the provision alive, and serves those that cannot or do
  # not want to contact the host.
}

struct Exception {
  reason @0 :Text;

  type @3 :Type;

  enum Type {
    failed @0;
    overloaded @1;
    disconnected @2;
    unimplemented @3;
  }

  obsoleteIsCallersFault @1 :Bool;
  obsoleteDurability @2 :UInt16;

  trace @4 :Text;

  details @5 :List(Detail);

  struct Detail {
    detailId @0 :UInt64;
    data @1 :Data;
  }
}
