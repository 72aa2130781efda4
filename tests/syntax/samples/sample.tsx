import React, { useState } from 'react';

interface Props {
  title: string;
}

export function Panel({ title }: Props) {
  const [open, setOpen] = useState(false);
  return (
    <div className="panel" onClick={() => {
      setOpen(!open);
    }}>
      {open && <p>It's {title} {'{'}</p>}
    </div>
  );
}

const Small = () => <b />;
