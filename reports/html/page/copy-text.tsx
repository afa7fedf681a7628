import { useState } from 'preact/hooks';

/** A line to be pasted somewhere, with a button where the browser lets a page copy. */
export function CopyText({ text }: { text: string }) {
  return (
    <div class="copy-text">
      <code>{text}</code>
      <CopyButton text={text} />
    </div>
  );
}

/** Copies a text; nothing where the browser does not let a page copy. */
export function CopyButton({ text }: { text: string }) {
  const [copied, setCopied] = useState(false);
  // Missing in pages that came over plain HTTP, whatever the types say.
  const clipboard = navigator.clipboard as Clipboard | undefined;
  if (!clipboard) return null;
  const copy = async () => {
    await clipboard.writeText(text);
    setCopied(true);
    setTimeout(() => setCopied(false), 1500);
  };
  return (
    <button type="button" class="copy" onClick={() => void copy()}>
      {copied ? 'Copied' : 'Copy'}
    </button>
  );
}
