/** A bank for the example: `tok_flaky` fails twice before it works, `tok_declined` never works. */

/** The bank says no. Asking again does not help. */
export class CardDeclined extends Error {}

/** The bank did not answer. Asking again may help. */
export class BankUnavailable extends Error {}

/** Charge a card and give the receipt's number. Rejects with CardDeclined, BankUnavailable. */
export const charge = async (card: string, amount: number, how: { key: string; attempt: number }): Promise<string> => {
  await new Promise((done) => setTimeout(done, 50));
  if (card === "tok_declined") throw new CardDeclined(`card declined for ${amount.toFixed(2)}`);
  if (card === "tok_flaky" && how.attempt < 3) throw new BankUnavailable("no answer from the bank");
  return `receipt-${how.key}`;
};
